"""Which cluster the demo runs on: the one that was named, else the local one, made from this checkout."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from e2e import install
from e2e.cluster.paths import CACHE
from e2e.cluster.shell import tail_of_file
from e2e.cluster.stages import Stages
from e2e.demo.story import DemoError
from e2e.install import Site
from e2e.scenarios.kube import ROOT, Kube

LOG: Final = CACHE / "demo" / "images.log"


def named(context: str, registry: str, tag: str) -> Site:
    """A cluster of the user's own, whose registry has the images already."""
    return Site(Kube(context=context), registry, install.plain_http(registry), tag)


def local(stages: Stages, tag: str) -> Site:
    """The local cluster, brought up if need be, with images of this checkout.

    Raises:
        DemoError: One of the programs failed.
    """
    _run("-m", "e2e.cluster", "up")
    registry, kubeconfig = _run("-m", "e2e.cluster", "registry"), _run("-m", "e2e.cluster", "kubeconfig")
    with stages.stage("images"):
        stages.detail(f"the builder's words are in {LOG}")
        for line in _run("images/build.py", "--registry", registry, "--tag", tag, log=LOG).splitlines():
            stages.say(f"  {line}")
        load = ("build-image", "e2e/load", "e2e/load/Dockerfile", f"modelwright/load:{tag}")
        _run("-m", "e2e.cluster", *load, log=LOG)
    return Site(Kube(kubeconfig=kubeconfig), registry, insecure=True, tag=tag)


def _run(*words: str, log: Path | None = None) -> str:
    """Standard output of one of our own programs; its progress passes through, or goes into a log.

    Raises:
        DemoError: It failed; with the end of the log, if there is one.
    """
    with contextlib.ExitStack() as stack:
        progress = None
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            progress = stack.enter_context(log.open("w"))
        command = [sys.executable, *words]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=progress, text=True, cwd=ROOT, check=False)
    if done.returncode:
        said = tail_of_file(log) if log else "what it said is above"
        raise DemoError(f"{' '.join(words[:3])} ended with exit code {done.returncode}:\n{said}")
    return done.stdout.strip()
