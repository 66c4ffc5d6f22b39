"""Drives lexicon, as it comes from PyPI, at the host that it takes for DigitalOcean's API.

    lexicon_record.py create|delete

writes or finds and deletes a TXT record `_acme-challenge.new` in example.com, with the sub-token in TOKEN. Where
api.digitalocean.com leads, and whose certificate is trusted there, the environment says: https_proxy, REQUESTS_CA_BUNDLE.
Run by DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled; fails with what lexicon says.
"""

import os
import sys

from lexicon.client import Client
from lexicon.config import ConfigResolver

RECORD = {"rtype": "TXT", "name": "_acme-challenge.new", "content": "from-lexicon"}

# Not by its command line: that asks the DNS of the world for the zone, whatever it is told.
options = {"provider_name": "digitalocean", "domain": "example.com", "digitalocean": {"auth_token": os.environ["TOKEN"]}}
with Client(ConfigResolver().with_dict(options)) as records:
    if sys.argv[1] == "create":
        records.create_record(**RECORD)
    else:
        records.delete_record(**RECORD)
