"""Container images: a Debian base, the cluster's own programs, and whatever the project's Dockerfiles describe.

Every image carries a hash of what it was made from; one that the registry has already is not built again.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from e2e.cluster import debian, registry
from e2e.cluster.builds import ETCD_VERSION, KUBERNETES_VERSION, ensure_binaries
from e2e.cluster.paths import CACHE, DOCKERFILES
from e2e.cluster.shell import ClusterError, run, succeeds
from e2e.cluster.topology import REGISTRY

BASE = f"{REGISTRY}/base/debian:{debian.RELEASE}"
LOCAL_BASE = f"localhost/modelwright/base:{debian.RELEASE}"
PAUSE = f"{REGISTRY}/system/pause:1"
INPUTS_LABEL = "modelwright.dev/inputs"

Report = Callable[[str], None]

# Image -> the program in it, or the Dockerfile of its own.
SYSTEM_IMAGES = {
    "system/pause:1": "pause",
    f"system/etcd:{ETCD_VERSION}": "etcd",
    f"system/kube-apiserver:{KUBERNETES_VERSION}": "kube-apiserver",
    f"system/kube-controller-manager:{KUBERNETES_VERSION}": "kube-controller-manager",
    f"system/kube-scheduler:{KUBERNETES_VERSION}": "kube-scheduler",
    f"system/kube-proxy:{KUBERNETES_VERSION}": "kube-proxy",
    "system/coredns:1": "coredns",
    "system/metrics-server:1": "metrics-server",
    "system/envoy-gateway:1": "envoy-gateway",
    "system/envoy:1": "envoy",
    "system/prometheus:1": "prometheus",
}
_COPY = re.compile(r"^\s*(?:COPY|ADD)\s+(?P<words>.+)$", re.IGNORECASE)
_FROM_BASE = re.compile(r"^\s*ARG\s+BASE\b", re.IGNORECASE | re.MULTILINE)


def ensure_system_images(report: Report) -> None:
    """Build and push what the cluster itself runs."""
    ensure_base(report)
    for image, program in SYSTEM_IMAGES.items():
        path = ensure_binaries([program], report)[program]
        own = DOCKERFILES / f"{program}.Dockerfile"
        dockerfile = own if own.exists() else DOCKERFILES / "program.Dockerfile"
        build_image(path.parent, dockerfile, image, {"PROGRAM": program}, report)


def ensure_base(report: Report) -> None:
    """Make the base image unless the registry has it; also under the name that Dockerfiles use locally."""
    inputs = hashlib.sha256("\n".join((debian.RELEASE, *debian.mirrors(), "2")).encode()).hexdigest()
    if _made_from(BASE, inputs) and succeeds([*_buildah(), "inspect", "--type", "image", LOCAL_BASE]):
        return
    root = debian.bootstrap(report)
    try:
        report("packing the base image")
        container = run([*_buildah(), "from", "scratch"]).strip()
        run([*_buildah(), "add", "--quiet", container, root, "/"])
        run([*_buildah(), "config", "--cmd", "/bin/sh", "--label", f"{INPUTS_LABEL}={inputs}", container])
        run([*_buildah(), "commit", "--quiet", "--rm", container, LOCAL_BASE])
    finally:
        debian.discard(root)
    _push(LOCAL_BASE, BASE)


def build_image(
    context: Path,
    dockerfile: Path,
    tag: str,
    arguments: Mapping[str, str] | None = None,
    report: Report = lambda _: None,
) -> bool:
    """Build a Dockerfile and push it as tag; False if the registry holds the result of the same inputs."""
    image = tag if tag.startswith(f"{REGISTRY}/") else f"{REGISTRY}/{tag}"
    given = dict(arguments or {})
    if _FROM_BASE.search(dockerfile.read_text()) and "BASE" not in given:
        given["BASE"] = LOCAL_BASE
    inputs = hash_inputs(context, dockerfile, given, _base_identity(given.get("BASE")))
    if _made_from(image, inputs):
        return False
    report(f"building {tag}")
    options = [f"--build-arg={name}={value}" for name, value in given.items()]
    run(
        [
            *_buildah(), "build", "--isolation", "chroot", "--layers", "--force-rm",
            "--pull=false", "--tls-verify=false",
            *(f"--volume={path}:{path}:O" for path in _certificates()),
            *options, "--label", f"{INPUTS_LABEL}={inputs}",
            "--file", dockerfile, "--tag", image, context,
        ],
        remedy=f"the last lines above are buildah's; the Dockerfile is {dockerfile}",
    )  # fmt: skip
    report(f"pushing {tag}")
    _push(image, image)
    return True


def hash_inputs(context: Path, dockerfile: Path, arguments: Mapping[str, str], base: str) -> str:
    """Hash what decides about an image: its Dockerfile, the files it copies, its arguments and its base."""
    text = dockerfile.read_text()
    digest = hashlib.sha256(f"{text}\0{sorted(arguments.items())}\0{base}\0".encode())
    for source in copied_sources(text, arguments):
        for path in _files_below(context, source):
            digest.update(f"{path.relative_to(context)}\0{path.stat().st_mode & 0o111:o}\0".encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def copied_sources(dockerfile: str, arguments: Mapping[str, str]) -> list[str]:
    """What a Dockerfile takes from its context: the sources of COPY and ADD that name no other stage."""
    sources: list[str] = []
    for line in re.sub(r"\\\n", " ", dockerfile).splitlines():
        if not (match := _COPY.match(line)):
            continue
        words = _words(match["words"])
        if any(word.startswith("--from=") for word in words):
            continue
        sources += [word for word in words if not word.startswith("--")][:-1]
    return [_fill_in(source, arguments) for source in sources]


def _words(instruction: str) -> list[str]:
    """Split the rest of an instruction, which is words or, behind its options, a JSON list of them."""
    options, bracket, listed = instruction.partition("[")
    return [*options.split(), *json.loads(bracket + listed)] if bracket else instruction.split()


def _fill_in(source: str, arguments: Mapping[str, str]) -> str:
    """Put build arguments into a path; one that has a default in the Dockerfile only matches anything."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: arguments.get(found[1], "*"), source)


def _files_below(context: Path, source: str) -> list[Path]:
    pattern = source.strip("/").removeprefix("./") or "."
    roots = [context] if pattern == "." else sorted(context.glob(pattern))
    files = [file for root in roots for file in ([root] if root.is_file() else root.rglob("*"))]
    ignored = {"__pycache__", ".git", ".venv"}
    return sorted(file for file in set(files) if file.is_file() and not ignored & set(file.parts))


def _base_identity(base: str | None) -> str:
    """What a base image is made of: its hash in our registry, or its name if it comes from elsewhere."""
    if base is None:
        return ""
    name = BASE if base == LOCAL_BASE else base
    return _inputs_of(name) or name


def _made_from(image: str, inputs: str) -> bool:
    return _inputs_of(image) == inputs


def _inputs_of(image: str) -> str | None:
    if not image.startswith(f"{REGISTRY}/"):
        return None
    repository, _, tag = image.removeprefix(f"{REGISTRY}/").rpartition(":")
    found = registry.labels(repository, tag)
    return None if found is None else found.get(INPUTS_LABEL)


def _push(local: str, remote: str) -> None:
    run([*_buildah(), "push", "--quiet", "--tls-verify=false", local, f"docker://{remote}"])


def release() -> None:
    """Let go of what a killed build holds: its working containers and their mounts. Layers stay for the next build."""
    if not Path("/usr/bin/buildah").exists() or not (CACHE / "buildah").exists():
        return
    run([*_buildah(), "rm", "--all"])
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounted if Path(path).is_relative_to(CACHE / "buildah")), reverse=True):
        run(["umount", path])


def _certificates() -> list[str]:
    """The machine's own trust: pip and curl inside a build meet the same servers as outside.

    They are mounted as overlays (`:O`): a package in the build may update its own, and nothing of that stays.
    """
    return [path for path in ("/etc/ssl/certs", "/usr/local/share/ca-certificates") if Path(path).is_dir()]


def _buildah() -> list[str]:
    """Run buildah on a storage of our own, under the cache, whatever the machine's defaults are."""
    storage = CACHE / "buildah"
    storage.mkdir(parents=True, exist_ok=True)
    if not shutil.which("buildah"):
        raise ClusterError("buildah: not found", "run `python3 -m e2e.cluster up`, which installs it")
    return [
        "buildah", "--root", str(storage), "--runroot", str(storage / "run"),
        "--storage-driver", os.environ.get("STORAGE_DRIVER", _storage_driver(storage)),
    ]  # fmt: skip


def _storage_driver(storage: Path) -> str:
    """Take overlay, or the slow copy-everything driver on a file system that cannot carry overlay."""
    decided = storage / ".driver"
    if not decided.exists():
        with tempfile.TemporaryDirectory(dir=storage) as scratch:
            lower, upper, work, merged = (Path(scratch, name) for name in ("l", "u", "w", "m"))
            for directory in (lower, upper, work, merged):
                directory.mkdir()
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            works = succeeds(["mount", "-t", "overlay", "overlay", "-o", options, merged])
            if works:
                run(["umount", merged])
        decided.write_text("overlay" if works else "vfs")
    return decided.read_text()
