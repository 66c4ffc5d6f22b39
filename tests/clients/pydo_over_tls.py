"""Drives pydo, as it comes from PyPI, through tidegate over TLS, which it insists on.

Run by DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled. From the environment:

    TIDEGATE_URL        where tidegate listens, such as https://localhost:8443
    REQUESTS_CA_BUNDLE  the authority of tidegate's certificate
    TOKEN_FULL          a sub-token that may read Droplets and write TXT records in example.com
    TOKEN_READ          a sub-token that may read Droplets, and no more
    PER_PAGE            Droplets asked for at a time (2); fewer than there are, so that there is a second page

Each step prints one line of JSON on standard output. Exits 0 only if all went as written here.
"""

import json
import os

from azure.core.exceptions import HttpResponseError
from pydo import Client

URL = os.environ["TIDEGATE_URL"].rstrip("/")
PER_PAGE = int(os.environ.get("PER_PAGE", "2"))


def main():
    full = Client(token=os.environ["TOKEN_FULL"], endpoint=URL)
    listed = list_droplets(full)
    get_droplet(full, listed[0])
    delete_record(full, create_record(full))
    be_refused(Client(token=os.environ["TOKEN_READ"], endpoint=URL), listed[0])


# The library has no paging of its own: one asks for page after page while there is a next one.
def list_droplets(client):
    listed, links, page = [], [], 1
    while True:
        answer = client.droplets.list(per_page=PER_PAGE, page=page)
        listed += answer["droplets"]
        following = answer["links"].get("pages", {}).get("next")
        if not following:
            break
        links.append(following)
        page += 1
    ids = [droplet["id"] for droplet in listed]
    tell("list", count=len(ids), ids=ids, names=[droplet["name"] for droplet in listed], next=links)
    expect(len(ids) > PER_PAGE, f"more than the {PER_PAGE} Droplets of one page; got {len(ids)}, set PER_PAGE lower")
    expect(len(set(ids)) == len(ids), f"each Droplet once; got {ids}")
    return listed


def get_droplet(client, listed):
    droplet = client.droplets.get(listed["id"])["droplet"]
    tell("get", id=droplet["id"], name=droplet["name"], status=droplet["status"])
    expect((droplet["id"], droplet["name"]) == (listed["id"], listed["name"]), f"the Droplet listed as {listed['id']}")


def create_record(client):
    wanted = {"type": "TXT", "name": "_acme-challenge", "data": "from-pydo", "ttl": 30}
    record = client.domains.create_record("example.com", body=wanted)["domain_record"]
    tell("create_record", id=record["id"], type=record["type"], name=record["name"], data=record["data"])
    expect((record["type"], record["name"]) == ("TXT", "_acme-challenge"), "the record that was asked for")
    return record["id"]


def delete_record(client, record_id):
    answer = client.domains.delete_record("example.com", record_id)
    tell("delete_record", id=record_id, deleted=answer is None)
    expect(answer is None, "204, which the library tells as None")


def be_refused(client, droplet):
    try:
        client.droplets.destroy(droplet["id"])
    except HttpResponseError as refusal:
        tell("refused", id=droplet["id"], status=refusal.status_code, message=str(refusal))
        expect(refusal.status_code == 403, f"403; got {refusal.status_code}")
    else:
        expect(False, "TOKEN_READ to be refused the deletion of a Droplet")


def tell(step, **facts):
    print(json.dumps({"step": step, **facts}), flush=True)


def expect(held, what):
    if not held:
        raise SystemExit(f"pydo_over_tls.py: expected {what}")


main()
