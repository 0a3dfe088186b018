"""Prints the requirements of an extra (of pyproject.toml), one a line: `pip install -r <(python tools/extra.py dev)`.

It installs a development environment without building the package once more.
"""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

project = tomllib.loads((Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
for name in sys.argv[1:]:
    print("\n".join(project["optional-dependencies"][name]))
