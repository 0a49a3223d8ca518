"""Debian packages the cluster needs, installed without starting a single daemon; and the base image's file system."""

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.paths import CACHE
from e2e.cluster.shell import ClusterError, run, succeeds

RELEASE = "bookworm"

# The program that shows a package is there -> the package.
PACKAGES = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/bin/buildah": "buildah",
    "/usr/sbin/debootstrap": "debootstrap",
    "/usr/sbin/nft": "nftables",
    "/usr/sbin/iptables": "iptables",
    "/usr/sbin/conntrack": "conntrack",
    "/usr/bin/docker-registry": "docker-registry",
    "/usr/bin/socat": "socat",
    "/usr/sbin/ip": "iproute2",
    "/usr/bin/nsenter": "util-linux",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def missing_packages() -> list[str]:
    """Name the packages whose program is not there."""
    return [package for program, package in PACKAGES.items() if not Path(program).exists()]


def ensure_packages(report: Callable[[str], None] = lambda _: None) -> None:
    """Install what is missing, and nothing when nothing is."""
    missing = missing_packages()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"missing: {', '.join(missing)}", "this needs a Debian 12 machine, or these installed")
    report(f"installing {', '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-q"], env=quiet, remedy="look at the machine's apt sources")
    with _no_daemons():
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], env=quiet)


@contextmanager
def _no_daemons() -> Generator[None]:
    """Forbid packages to start services while they are installed; a policy that exists already stays."""
    ours = not _POLICY.exists()
    if ours:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            _POLICY.unlink(missing_ok=True)


def mirrors() -> tuple[str, str]:
    """The mirrors of Debian and of its security updates, read from the machine's own apt sources."""
    directory = Path("/etc/apt")
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    found = [uri for file in files if file.is_file() for uri in parse_uris(file.read_text(errors="replace"))]
    debian = [uri for uri in found if uri.rstrip("/").endswith("/debian")]
    security = [uri for uri in found if uri.rstrip("/").endswith("/debian-security")]
    if not debian or not security:
        raise ClusterError("the apt sources name no mirror of Debian or of its security updates", f"see {directory}")
    return debian[0], security[0]


def parse_uris(sources: str) -> list[str]:
    """List the archive addresses in an apt source file, in the one-line or in the deb822 format."""
    uris: list[str] = []
    for line in sources.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "URIs:":
            uris += words[1:]
        elif words[0] == "deb":
            uris += [word for word in words[1:] if "://" in word][:1]
    return uris


def bootstrap(report: Callable[[str], None]) -> Path:
    """Make a minimal Debian file system and return its directory, for the base image."""
    mirror, security = mirrors()
    root = Path(tempfile.mkdtemp(prefix="base-", dir=_scratch()))
    report(f"debootstrap {RELEASE}")
    include = "ca-certificates"
    run(
        ["/usr/sbin/debootstrap", "--variant=minbase", f"--include={include}", RELEASE, root, mirror],
        env={"PATH": f"/usr/sbin:/sbin:{os.environ['PATH']}"},
        remedy=f"can {mirror} be reached? It was read from the machine's apt sources",
    )
    (root / "etc/apt/sources.list").write_text(
        f"deb {mirror} {RELEASE} main\ndeb {mirror} {RELEASE}-updates main\ndeb {security} {RELEASE}-security main\n"
    )
    for leftover in ("var/lib/apt/lists", "var/cache/apt/archives"):
        shutil.rmtree(root / leftover, ignore_errors=True)
        (root / leftover / "partial").mkdir(parents=True)
    # The machine's resolver and name are not the image's.
    for host_file in ("etc/resolv.conf", "etc/hostname"):
        (root / host_file).write_text("")
    return root


def discard(root: Path) -> None:
    """Remove a bootstrapped tree; debootstrap may have left /proc mounted if it was killed."""
    for inner in ("proc", "sys"):
        while succeeds(["mountpoint", "-q", root / inner]):
            run(["umount", root / inner])
    shutil.rmtree(root, ignore_errors=True)


def _scratch() -> Path:
    scratch = CACHE / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    for stale in scratch.glob("base-*"):
        discard(stale)
    return scratch
