"""Print the requirements of pyproject.toml, one per line: `requirements.py --without NAME [EXTRA...]`."""

import sys
import tomllib
from pathlib import Path

without, extras = sys.argv[2], sys.argv[3:]
project = tomllib.loads(Path(__file__).parent.parent.joinpath("pyproject.toml").read_text())["project"]
wanted = list(project["dependencies"])
for extra in extras:
    wanted += project["optional-dependencies"][extra]
print("\n".join(line for line in wanted if not line.startswith(without)))
