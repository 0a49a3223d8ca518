"""Which cluster the demo runs on: the one that was named, else the local one, made from this checkout."""

import subprocess
import sys

from e2e import install
from e2e.cluster.stages import Stages
from e2e.demo.story import DemoError
from e2e.install import Site
from e2e.scenarios.kube import ROOT, Kube


def named(context: str, registry: str, tag: str) -> Site:
    """A cluster of the user's own, whose registry has the images already."""
    return Site(Kube(context=context), registry, install.plain_http(registry), tag)


def local(stages: Stages, tag: str) -> Site:
    """The local cluster, brought up if need be, with images of this checkout.

    Raises:
        DemoError: One of the programs failed; what it said is above.
    """
    _run("-m", "e2e.cluster", "up")
    registry, kubeconfig = _run("-m", "e2e.cluster", "registry"), _run("-m", "e2e.cluster", "kubeconfig")
    with stages.stage("images"):
        for line in _run("images/build.py", "--registry", registry, "--tag", tag).splitlines():
            stages.say(f"  {line}")
        _run("-m", "e2e.cluster", "build-image", "e2e/load", "e2e/load/Dockerfile", f"modelwright/load:{tag}")
    return Site(Kube(kubeconfig=kubeconfig), registry, insecure=True, tag=tag)


def _run(*words: str) -> str:
    """Standard output of one of our own programs; its progress passes through."""
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise DemoError(f"{' '.join(words[:3])} ended with exit code {done.returncode}; what it said is above")
    return done.stdout.strip()
