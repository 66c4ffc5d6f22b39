"""Drives python-digitalocean, as it comes from PyPI, through tidegate.

Run by DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled. From the environment:

    TIDEGATE_URL  where tidegate listens, such as http://127.0.0.1:8080
    TOKEN_FULL    a sub-token that may read Droplets and write TXT records in example.com
    TOKEN_READ    a sub-token that may read Droplets, and no more
    PER_PAGE      Droplets asked for at a time (2); fewer than there are, so that there is a second page

Each step prints one line of JSON on standard output. Exits 0 only if all went as written here.
"""

import json
import os

URL = os.environ["TIDEGATE_URL"].rstrip("/")
TOKEN_FULL = os.environ["TOKEN_FULL"]
TOKEN_READ = os.environ["TOKEN_READ"]
PER_PAGE = int(os.environ.get("PER_PAGE", "2"))

# The library's own settings. Each of its objects reads the first anew, and without the last slash loses `v2`.
os.environ["DIGITALOCEAN_END_POINT"] = URL + "/v2/"
os.environ["PYTHON_DIGITALOCEAN_REQUEST_TIMEOUT_SEC"] = "30"
os.environ.pop("DIGITALOCEAN_ACCESS_TOKEN", None)

import digitalocean  # noqa: E402: reads the environment above


def main():
    manager = digitalocean.Manager(token=TOKEN_FULL)
    listed = list_droplets(manager)
    get_droplet(manager, listed[0])

    domain = digitalocean.Domain(token=TOKEN_FULL, name="example.com")
    record_id = create_record(domain)
    delete_record(domain, record_id)

    be_refused(digitalocean.Droplet(token=TOKEN_READ, id=listed[0].id))


def list_droplets(manager):
    listed = manager.get_all_droplets(params={"per_page": PER_PAGE})
    ids = [droplet.id for droplet in listed]
    tell("list", count=len(ids), ids=ids, names=[droplet.name for droplet in listed])
    expect(len(ids) > PER_PAGE, f"more than the {PER_PAGE} Droplets of one page; got {len(ids)}, set PER_PAGE lower")
    expect(len(set(ids)) == len(ids), f"each Droplet once; got {ids}")
    return listed


def get_droplet(manager, listed):
    droplet = manager.get_droplet(listed.id)
    tell("get", id=droplet.id, name=droplet.name, status=droplet.status)
    expect((droplet.id, droplet.name) == (listed.id, listed.name), f"the Droplet listed as {listed.id}")


def create_record(domain):
    answer = domain.create_new_domain_record(
        type="TXT", name="_acme-challenge", data="from-python-digitalocean", ttl=30
    )
    record = answer["domain_record"]
    tell("create_record", id=record["id"], type=record["type"], name=record["name"], data=record["data"])
    expect((record["type"], record["name"]) == ("TXT", "_acme-challenge"), "the record that was asked for")
    return record["id"]


def delete_record(domain, record_id):
    deleted = domain.delete_domain_record(id=record_id)
    tell("delete_record", id=record_id, deleted=deleted)
    expect(deleted is True, "204, which the library tells as True")


def be_refused(droplet):
    try:
        droplet.destroy()
    except digitalocean.DataReadError as refusal:  # a 404 would be NotFoundError, which has no message
        tell("refused", id=droplet.id, error=type(refusal).__name__, message=str(refusal))
        expect(str(refusal) != "", "a message")
    else:
        expect(False, "TOKEN_READ to be refused the deletion of a Droplet")


def tell(step, **facts):
    print(json.dumps({"step": step, **facts}), flush=True)


def expect(held, what):
    if not held:
        raise SystemExit(f"python_digitalocean.py: expected {what}")


main()
