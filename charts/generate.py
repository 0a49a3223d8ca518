"""Writes what the chart takes from the code: the CRDs and the operator's rights. ``python charts/generate.py``."""

# ruff: noqa: INP001 - a script beside what it writes, not a package

import sys
from pathlib import Path

import yaml

from modelwright.api import schema
from modelwright.cluster import permissions

FILES = Path(__file__).parent / "modelwright" / "files"
HEADER = "# Made by charts/generate.py from operator/modelwright/cluster/permissions.py. Change it there.\n"


def files() -> dict[str, str]:
    """Path below `FILES` and content of every generated file."""
    rights = {scope: permissions.rules(scope) for scope in ("models", "cluster", "own")}
    crds = {f"crds/{name}": content for name, content in schema.files().items()}
    return {**crds, "permissions.yaml": HEADER + yaml.safe_dump(rights, sort_keys=False, width=110)}


def main(directory: Path = FILES) -> None:
    """Write the files."""
    for name, content in files().items():
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
