"""Everything that is tested, in stages: `python -m e2e.suite`, with `--soak` for the long sweeps instead.

Lint and types, a cluster, images, the chart, and then one run of pytest over `tests` and `e2e/scenarios`, whose closing
line is the closing line of it all. CONTEXT or KUBECONFIG together with REGISTRY use a cluster that is there; without
them one is brought up on this machine.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from e2e import progress

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
HEARTBEAT_SECONDS = 10.0
TAIL_LINES = 25
LOAD_IMAGE = ("build-image", "e2e/load", "e2e/load/Dockerfile")


class StageFailed(Exception):
    """A stage before the tests failed; the text says what happened and what to do."""


@dataclass
class Times:
    """How long each stage took."""

    started: float = field(default_factory=time.monotonic)
    stages: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Time a stage and show that it lives."""
        began, ended = time.monotonic(), threading.Event()
        self._say(f"{name} …")
        pulse = threading.Thread(target=self._pulse, args=(name, began, ended), daemon=True)
        pulse.start()
        try:
            yield
        finally:
            ended.set()
            self.stages.append((name, time.monotonic() - began))
        self._say(f"{name}: {time.monotonic() - began:.1f} s")

    def table(self) -> str:
        """All stages with their times."""
        rows = [*self.stages, ("in all", time.monotonic() - self.started)]
        return "\n".join(f"{name:<28} {seconds:8.1f} s" for name, seconds in rows)

    def _pulse(self, name: str, began: float, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            self._say(f"{name} … {time.monotonic() - began:.0f} s so far")

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.started:6.0f}s] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Site:
    """The cluster that is tested on. `ours` if it is the one of this machine."""

    ours: bool
    environment: Mapping[str, str]

    @classmethod
    def chosen(cls) -> "Site":
        """What the environment names, else the cluster of this machine."""
        named = os.environ.get("CONTEXT") or os.environ.get("KUBECONFIG")
        if named and not os.environ.get("REGISTRY"):
            raise StageFailed("CONTEXT or KUBECONFIG is set, but REGISTRY is not.\nremedy: REGISTRY=host[:port]")
        return cls(not named, {"TAG": os.environ.get("TAG", "dev")})


def main(words: Sequence[str]) -> int:
    """Run all stages; the exit code is pytest's, or 1 if it did not come to that."""
    parser = argparse.ArgumentParser(prog="python -m e2e.suite", description=__doc__)
    parser.add_argument("--soak", action="store_true", help="only the long sweeps")
    asked = parser.parse_args(words)
    times = Times()
    try:
        code = run(times, soak=asked.soak)
    except StageFailed as error:
        print(f"\nerror: {error}\n\n{times.table()}", file=sys.stderr)
        return 1
    return code


def run(times: Times, *, soak: bool) -> int:
    """All stages in their order."""
    site = Site.chosen()
    if not soak:
        with times.stage("lint, types, layers"):
            lint()
    with times.stage("cluster"):
        environment = prepare_cluster(site)
    with times.stage("images"):
        build_images(site, environment)
    with times.stage("chart"):
        call([sys.executable, "-m", "e2e.install"], environment, "see the pods of modelwright-system")
    return run_tests(times, environment, soak=soak)


def lint() -> None:
    """What `make lint` asks: format, rules, types, layers."""
    remedy = "`make fmt` formats and fixes what can be fixed"
    paths = ("operator", "tests", "e2e", "images")
    call([BIN / "ruff", "format", "-q", "--check", *paths], {}, remedy)
    call([BIN / "ruff", "check", "-q", *paths], {}, remedy)
    call([BIN / "pyright"], {}, "`make lint` shows all of it")
    call([BIN / "lint-imports", "--no-cache"], {}, "the layers are in pyproject.toml")


def prepare_cluster(site: Site) -> dict[str, str]:
    """Have a cluster; the environment that leads to it."""
    if not site.ours:
        return dict(site.environment)
    show([sys.executable, "-m", "e2e.cluster", "up"], "`make cluster` alone shows more")
    return {**site.environment, **local_cluster()}


def local_cluster() -> dict[str, str]:
    """The environment that leads to the cluster of this machine."""
    return {
        "KUBECONFIG": answer([sys.executable, "-m", "e2e.cluster", "kubeconfig"]),
        "REGISTRY": answer([sys.executable, "-m", "e2e.cluster", "registry"]),
        "PATH": f"{ROOT / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }


def build_images(site: Site, environment: Mapping[str, str]) -> None:
    """Have all images in the registry."""
    call([sys.executable, "images/build.py"], environment, "`make images` alone shows more")
    if site.ours:
        image = f"modelwright/load:{environment['TAG']}"
        call([sys.executable, "-m", "e2e.cluster", *LOAD_IMAGE, image], environment, "see e2e/load/Dockerfile")


def run_tests(times: Times, environment: Mapping[str, str], *, soak: bool) -> int:
    """One pytest over everything: its closing line is the last one. `progress` prints the stages before it."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "e2e.progress", "--durations=15", "--capture=tee-sys"]
    words += ["-m", "soak" if soak else "not soak", "tests", "e2e/scenarios"]
    measured = {progress.TIMES: json.dumps(times.stages)}
    print(f"\n{times.table()}\n", file=sys.stderr, flush=True)
    return subprocess.run(words, cwd=ROOT, env={**os.environ, **environment, **measured}, check=False).returncode


def call(words: Sequence[str | Path], environment: Mapping[str, str], remedy: str) -> None:
    """Run a program quietly.

    Raises:
        StageFailed: It did not exit 0; the end of what it said is in the text.
    """
    done = subprocess.run(
        list(map(str, words)), cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:])
        raise StageFailed(f"{_shown(words)}: exit {done.returncode}\n{said}\nremedy: {remedy}")


def show(words: Sequence[str | Path], remedy: str) -> None:
    """Run a program that shows its own progress."""
    done = subprocess.run(list(map(str, words)), cwd=ROOT, check=False)
    if done.returncode:
        raise StageFailed(f"{_shown(words)}: exit {done.returncode}; its words are above\nremedy: {remedy}")


def answer(words: Sequence[str]) -> str:
    """What a program prints."""
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _shown(words: Sequence[str | Path]) -> str:
    return " ".join(Path(str(word)).name if index == 0 else str(word) for index, word in enumerate(words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
