"""Has octodns, as it comes from PyPI, make example.com at the host that it takes for DigitalOcean's API what a file says.

    octodns_zone.py DIRECTORY ZONE

ZONE is the file's text, which is put into DIRECTORY. The sub-token is in TOKEN; where api.digitalocean.com leads, and
whose certificate is trusted there, the environment says: https_proxy, REQUESTS_CA_BUNDLE. Run by
DIRECTORY/venv/bin/python, where DIRECTORY is what `install` filled; fails with what octodns says.
"""

import sys
from pathlib import Path

from octodns.manager import Manager

CONFIG = """
providers:
  file: { class: octodns.provider.yaml.YamlProvider, directory: DIRECTORY, default_ttl: 30 }
  digitalocean: { class: octodns_digitalocean.DigitalOceanProvider, token: env/TOKEN }
zones:
  example.com.: { sources: [file], targets: [digitalocean] }
"""

directory = Path(sys.argv[1])
directory.mkdir(exist_ok=True)
(directory / "example.com.yaml").write_text(sys.argv[2])
config = directory / "octodns.yaml"
config.write_text(CONFIG.replace("DIRECTORY", str(directory)))
Manager(str(config)).sync(dry_run=False, force=True)
