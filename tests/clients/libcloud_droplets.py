"""Has libcloud, as it comes from PyPI, create, list, use and delete the Droplets of one team at the host that it takes
for DigitalOcean's API, with the sub-token in TOKEN.

Where api.digitalocean.com leads, and whose certificate is trusted there, the environment says: https_proxy,
SSL_CERT_FILE. Run by DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled.
"""

import os

from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.drivers.digitalocean import DigitalOceanNodeDriver

team = DigitalOceanNodeDriver(os.environ["TOKEN"])
team.ex_per_page = 2  # so that there is a second page; as an argument its own constructor stumbles over it


def main():
    same(sorted(node.name for node in team.list_nodes()), ["a-db", "a-web", "a-web-keep"])

    size = next(size for size in team.list_sizes() if size.name == "s-1vcpu-1gb")
    image = next(image for image in team.list_images() if image.extra["slug"] == "ubuntu-24-04-x64")
    region = next(region for region in team.list_locations() if region.id == "nyc3")
    node = team.create_node("a-new", size, image, region)
    same(node.extra["tags"], ["client-a"])
    same(team.reboot_node(node), True)
    same(team.destroy_node(node), True)

    node.id = "22"  # another team's
    refused(404, team.reboot_node, node)
    refused(404, team.destroy_node, node)
    refused(403, team.create_node, "b-new", size, image, region, ex_create_attr={"tags": ["client-b"]})
    same(len(team.list_nodes()), 3)


def refused(status, call, *args, **kwargs):
    try:
        answer = call(*args, **kwargs)
    except BaseHTTPError as refusal:
        same((refusal.code, refusal.message != ""), (status, True))
    else:
        raise AssertionError(f"{call.__name__} was not refused: {answer}")


def same(got, wanted):
    assert got == wanted, f"expected {wanted}; got {got}"


main()
