"""Renders the chart with the helm that the cluster uses."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import builds

Body = dict[str, Any]

CHART = Path(__file__).parents[2] / "charts" / "modelwright"
VARIANTS = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "modelwright-system"


@cache
def helm() -> str:
    """The helm on the path, else our own, compiled if it must be."""
    return shutil.which("helm") or str(builds.binary("helm"))


def run_helm(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm; the caller judges how it ended."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run([helm(), *words], capture_output=True, text=True, check=False, env=environment)


def template(*words: str, variant: str = "minimal") -> subprocess.CompletedProcess[str]:
    """Render a variant of `ci/` as release `mw`."""
    values = f"--values={CHART}/ci/{variant}-values.yaml"
    return run_helm("template", "mw", str(CHART), f"--namespace={NAMESPACE}", values, *words)


def objects(*words: str, variant: str = "minimal") -> list[Body]:
    """The objects of a variant."""
    done = template(*words, variant=variant)
    assert done.returncode == 0, done.stderr
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def refusal(*words: str, variant: str = "minimal") -> str:
    """Why the chart refuses these values."""
    done = template(*words, variant=variant)
    assert done.returncode != 0
    return done.stderr


def of_kind(bodies: list[Body], kind: str) -> list[Body]:
    """The objects of one kind."""
    return [body for body in bodies if body["kind"] == kind]
