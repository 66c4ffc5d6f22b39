"""Lives the stories of narrowed sub-tokens with pydo, as it comes from PyPI, through tidegate over TLS.

    pydo_stories.py STORY

Run by DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled. The environment says where tidegate is
(TIDEGATE_URL), whose certificate is trusted (REQUESTS_CA_BUNDLE), and the sub-token of the story's role (TOKEN). Exits 0
only if all went as written here; what the ids stand for, the stand-in's `world.json` says.
"""

import os
import sys

from azure.core.exceptions import HttpResponseError
from pydo import Client

OWN_FIREWALL, OTHER_FIREWALL = "fb6045f1-cf1d-4ca3-bfac-18832663025b", "bb4b2611-3d72-467b-8602-280330ecd65c"
OWN_PROJECT, OTHER_PROJECT = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679", "746c6152-2fa2-11ed-92d3-27aaa54e4988"
DATABASE = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"
OWN_VOLUME, OTHER_VOLUME = "506f78a4-e098-11e5-ad9f-000000000001", "506f78a4-e098-11e5-ad9f-000000000002"
SMALL = {"region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}


def s2_firewall_rules(do):
    rule = {"protocol": "tcp", "ports": "8443", "sources": {"addresses": ["203.0.113.7"]}}
    ports = lambda: [own["ports"] for own in do.firewalls.get(OWN_FIREWALL)["firewall"]["inbound_rules"]]
    same(ids(do.firewalls.list()["firewalls"]), [OWN_FIREWALL])
    do.firewalls.add_rules(OWN_FIREWALL, body={"inbound_rules": [rule]})
    same(ports(), ["80", "22", "8443"])
    do.firewalls.delete_rules(OWN_FIREWALL, body={"inbound_rules": [rule]})
    same(ports(), ["80", "22"])
    refused(404, do.firewalls.get, OTHER_FIREWALL)
    refused((403, 404), do.firewalls.add_rules, OTHER_FIREWALL, body={"inbound_rules": [rule]})
    refused(403, do.firewalls.assign_droplets, OWN_FIREWALL, body={"droplet_ids": [13]})
    refused(403, do.firewalls.add_tags, OWN_FIREWALL, body={"tags": ["client-a"]})
    refused(403, do.firewalls.delete, OWN_FIREWALL)
    refused(403, do.droplets.list)


def s3_registry_pull(do):
    same(do.registry.get()["registry"]["name"], "example")
    same(names(do.registry.list_repositories_v2("example")["repositories"]), ["web"])
    login = do.registry.get_docker_credentials(expiry_seconds=600, read_write=False)
    expect("registry.digitalocean.com" in login["auths"], f"a login; got {list(login)}")
    refused(403, do.registry.get_docker_credentials, expiry_seconds=600, read_write=True)
    refused(404, do.registry.list_repository_tags, "example", "worker")
    refused(403, do.registry.delete_repository_tag, "example", "web", "latest")


def s4_one_project(do):
    same(names(do.droplets.list()["droplets"]), ["a-web", "a-db", "a-web-keep"])
    same(names(do.projects.list()["projects"]), ["client-a"])
    new = do.droplets.create(body={"name": "new", **SMALL})["droplet"]["id"]
    urns = [resource["urn"] for resource in do.projects.list_resources(OWN_PROJECT, per_page=200)["resources"]]
    expect(f"do:droplet:{new}" in urns, f"the new Droplet in its project; got {urns}")
    same(do.droplets.get(new)["droplet"]["name"], "new")
    do.droplets.destroy(new)
    refused(404, do.droplets.get, 22)
    refused(404, do.droplets.destroy, 22)
    refused((403, 404), do.projects.assign_resources, OTHER_PROJECT, body={"resources": ["do:droplet:12"]})
    refused(403, do.volume_actions.post_by_id, OWN_VOLUME, body={"type": "attach", "droplet_id": 22})


def s5_power_and_size(do):
    for action in [{"type": "power_off"}, {"type": "resize", "size": "s-2vcpu-4gb"}, {"type": "power_on"}]:
        begun = do.droplet_actions.post(12, body=action)["action"]
        same(do.droplet_actions.get(12, begun["id"])["action"]["status"], "completed")
        same(do.actions.get(begun["id"])["action"]["type"], action["type"])
    same(do.droplets.get(12)["droplet"]["size_slug"], "s-2vcpu-4gb")
    refused(403, do.droplet_actions.post, 12, body={"type": "resize", "size": "s-4vcpu-8gb"})
    refused(403, do.droplet_actions.post, 12, body={"type": "rename", "name": "mine"})
    refused(403, do.droplet_actions.post, 12, body={"type": "rebuild", "image": "ubuntu-24-04-x64"})
    refused(404, do.droplet_actions.post, 13, body={"type": "power_off"})
    refused(404, do.droplets.get, 13)
    refused(403, do.droplets.destroy, 12)


def s6_backup(do):
    same(ids(do.volumes.list()["volumes"]), [OWN_VOLUME])
    made = do.volume_snapshots.create(OWN_VOLUME, body={"name": "nightly"})["snapshot"]
    same(made["resource_id"], OWN_VOLUME)
    # What it made it sees in that answer alone: the role reads no snapshots.
    refused(403, do.volume_snapshots.list, OWN_VOLUME)
    begun = do.droplet_actions.post(12, body={"type": "snapshot", "name": "nightly"})["action"]
    same(do.actions.get(begun["id"])["action"]["status"], "completed")
    refused(404, do.volume_snapshots.create, OTHER_VOLUME, body={"name": "nightly"})
    refused(404, do.droplet_actions.post, 22, body={"type": "snapshot", "name": "nightly"})
    refused(403, do.droplet_actions.post, 12, body={"type": "power_off"})
    refused(403, do.volume_snapshots.delete_by_id, made["id"])
    refused(403, do.volume_actions.post_by_id, OWN_VOLUME, body={"type": "detach", "droplet_id": 12})


def s8_own_droplets(do):
    listed, page = [], 1
    while page:
        answer = do.droplets.list(per_page=2, page=page)
        same(answer["meta"]["total"], 3)
        listed += answer["droplets"]
        page = page + 1 if answer["links"].get("pages", {}).get("next") else None
    same(names(listed), ["a-web", "a-db", "a-web-keep"])
    new = do.droplets.create(body={"name": "a-new", **SMALL})["droplet"]
    same(do.droplets.get(new["id"])["droplet"]["tags"], ["client-a"])
    begun = do.droplet_actions.post(new["id"], body={"type": "reboot"})["action"]
    same(do.actions.get(begun["id"])["action"]["status"], "completed")
    do.droplets.destroy(new["id"])
    refused(404, do.droplets.get, 22)
    refused(404, do.droplets.destroy, 22)
    refused(403, do.droplets.destroy, 14)
    refused(403, do.droplets.destroy_by_tag, tag_name="client-b")
    refused(403, do.droplets.create, body={"name": "b-new", "tags": ["client-b"], **SMALL})


def s10_read_only(do):
    for what in ["account", "droplets", "volumes", "snapshots", "images", "firewalls", "domains", "projects", "vpcs",
                 "tags", "ssh_keys", "regions", "sizes", "load_balancers", "reserved_ips", "registry"]:
        group = getattr(do, what)
        answer = group.get() if what in ("account", "registry") else group.list()
        expect(any(answer.values()), f"something of {what}")
    same(len(do.kubernetes.list_clusters()["kubernetes_clusters"]), 1)
    cluster = do.kubernetes.list_clusters()["kubernetes_clusters"][0]["id"]
    refused(403, do.kubernetes.get_credentials, cluster)
    refused(403, do.registry.get_docker_credentials, read_write=False)
    for database in do.databases.list_clusters()["databases"]:
        expect(database["connection"]["host"], "the rest of a connection")
        expect("password" not in database["connection"] and "uri" not in database["connection"], "no password")
    expect("password" not in str(do.databases.list_users(DATABASE)), "no password of a user")
    expect("url" not in str(do.monitoring.list_alert_policy()["policies"][0]["alerts"]["slack"]), "no webhook")
    refused(403, do.tags.create, body={"name": "mine"})
    refused(403, do.droplets.destroy, 12)


def s11_droplets_only(do):
    same(len(do.droplets.list()["droplets"]), 6)
    do.droplets.destroy(do.droplets.create(body={"name": "new", **SMALL})["droplet"]["id"])
    refused(403, do.images.delete, 7003)
    refused(403, do.volumes.list)
    refused(403, do.domains.list)


def s11_images_only(do):
    same(do.images.update(7001, body={"name": "renamed"})["image"]["name"], "renamed")
    do.images.delete(7001)
    refused(403, do.images.delete, 7003)  # golden
    refused(403, do.droplets.list)


def s14_snapshots(do):
    same(names(do.droplets.list()["droplets"]), ["kept"])
    begun = do.droplet_actions.post(40, body={"type": "snapshot", "name": "nightly-1"})["action"]
    same(do.actions.get(begun["id"])["action"]["status"], "completed")
    same("nightly-of-kept" in names(do.snapshots.list()["snapshots"]), True)
    same(do.snapshots.get("7040")["snapshot"]["name"], "nightly-of-kept")
    refused(403, do.snapshots.delete, "7040")
    refused(404, do.droplet_actions.post, 12, body={"type": "snapshot", "name": "nightly-1"})
    refused(403, do.droplets.destroy, 40)


def refused(statuses, call, *args, **kwargs):
    """Has a call refused, with a message. Where 404 is documented, pydo hands its body back as an ordinary result."""
    try:
        answer = call(*args, **kwargs)
    except HttpResponseError as error:
        status, message = error.status_code, str(error)
    else:
        hidden = isinstance(answer, dict) and answer.get("id") == "not_found"
        status, message = (404, answer["message"]) if hidden else (None, str(answer))
    statuses = statuses if isinstance(statuses, tuple) else (statuses,)
    what = f"{call.__name__}{args} {kwargs}"
    expect(status in statuses and message, f"{what} to be refused with {statuses}; got {status}: {message}")


def ids(items):
    return [item["id"] for item in items]


def names(items):
    return [item["name"] for item in items]


def same(got, wanted):
    expect(got == wanted, f"{wanted}; got {got}")


def expect(held, what):
    if not held:
        raise AssertionError(f"expected {what}")


globals()[sys.argv[1]](Client(token=os.environ["TOKEN"], endpoint=os.environ["TIDEGATE_URL"]))
