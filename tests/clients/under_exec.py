"""An errand as any script does it, with what the environment says and nothing else.

    under_exec.py python-digitalocean|pydo

lists the Droplets, and makes and deletes a TXT record in example.com. Run by DIRECTORY/venv/bin/python, where DIRECTORY is what
`install` filled; prints the names of the Droplets, and fails with what the library says.
"""

import os
import sys

RECORD = {"type": "TXT", "name": "_acme-challenge.errand", "data": "from-an-errand"}


def by_python_digitalocean():
    import digitalocean

    names = [droplet.name for droplet in digitalocean.Manager().get_all_droplets()]
    domain = digitalocean.Domain(name="example.com")
    record = domain.create_new_domain_record(**RECORD)["domain_record"]
    digitalocean.Record(domain_name="example.com", id=record["id"]).destroy()
    return names


def by_pydo():
    from pydo import Client

    # Its main endpoint has no variable of its own.
    client = Client(token=os.environ["DIGITALOCEAN_TOKEN"], endpoint=os.environ["DIGITALOCEAN_API_URL"])
    names = [droplet["name"] for droplet in client.droplets.list(per_page=200)["droplets"]]
    record = client.domains.create_record("example.com", body=RECORD)["domain_record"]
    client.domains.delete_record("example.com", record["id"])
    return names


print(*{"python-digitalocean": by_python_digitalocean, "pydo": by_pydo}[sys.argv[1]]())
