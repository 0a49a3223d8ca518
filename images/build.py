"""Builds the images, and pushes them where a registry is named. What `make images` calls.

Settings come from options or from the environment:

    CONTAINER_TOOL   buildah, docker or podman; the first one found
    REGISTRY         host[:port]; without one the images stay on this machine, as localhost/modelwright/NAME:TAG
    TAG              dev
    BASE             base image of all of them; else REGISTRY/base/debian:bookworm where the registry holds it, which
                     is how a site without a way out keeps its base; else what the Dockerfiles name

An image carries the hash of all that it was made from, and is built only when that has changed.
Usage: ``images/build.py [NAME …] [--registry HOST] [--tag TAG] [--base IMAGE] [--tool TOOL] [--force]``.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("operator", "optimizer", "triton-cpu")
INPUTS_LABEL = "modelwright.dev/inputs"
TOOLS = ("buildah", "docker", "podman")
MIRRORED_BASE = ("base/debian", "bookworm")

_SOURCES = re.compile(r"^COPY (?!--from)(?P<words>.+)$", re.MULTILINE)
_SKIPPED = ("__pycache__",)


class BuildError(Exception):
    """The images cannot be built; the text says what to do."""


@dataclass(frozen=True)
class Tool:
    """A program that builds images."""

    name: str

    @property
    def is_buildah(self) -> bool:
        """Whether the words of the command line are buildah's."""
        return self.name.rpartition("/")[2] == "buildah"

    def build(self, dockerfile: Path, image: str, arguments: Mapping[str, str], label: str, *, plain: bool) -> None:
        """Build one image; `plain` is for a base that lies behind HTTP without TLS."""
        # chroot needs no more than the right to run as root; the machine's own certificates let pip and apt
        # through a proxy that inspects what passes.
        own = ["--isolation", "chroot", "--layers", *_certificates()] if self.is_buildah else []
        own += ["--tls-verify=false"] if plain and self.is_buildah else []
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        self._run("build", *own, *given, "--label", label, "--file", str(dockerfile), "--tag", image, str(ROOT))

    def labels(self, image: str) -> Mapping[str, str]:
        """Labels of an image on this machine; none if there is no such image."""
        asked = ["inspect", "--type=image", image] if self.is_buildah else ["image", "inspect", image]
        done = subprocess.run([self.name, *asked], capture_output=True, text=True, check=False)
        if done.returncode:
            return {}
        found = json.loads(done.stdout)
        config = found["OCIv1"]["config"] if self.is_buildah else found[0]["Config"]
        return config.get("Labels") or {}

    def size(self, image: str) -> str:
        """Size of an image, as the tool prints it."""
        done = subprocess.run(
            [self.name, "images", "--format", "{{.Size}}", image], capture_output=True, text=True, check=False
        )
        return next(iter(done.stdout.splitlines()), "?")  # one line a tag

    def push(self, image: str, target: str, *, plain: bool) -> None:
        """Push an image; `plain` is HTTP without TLS (docker knows its insecure registries from its daemon)."""
        if self.name.rpartition("/")[2] == "docker":
            self._run("tag", image, target)
            self._run("push", "--quiet", target)
        else:
            self._run("push", "--quiet", f"--tls-verify={str(not plain).lower()}", image, f"docker://{target}")

    def _run(self, *words: str) -> None:
        done = subprocess.run([self.name, *words], stdout=sys.stderr, check=False)
        if done.returncode:
            raise BuildError(f"{self.name} {words[0]} failed with exit code {done.returncode}; its words are above")


@dataclass(frozen=True)
class Settings:
    """What all images of one run have in common.

    Attributes:
        registry: ``host[:port]``, empty for none.
        plain: Whether the registry speaks HTTP without TLS.
        tag: Tag of the images.
        base: Base image, empty for what the Dockerfiles name.
        base_digest: What the base is now, as far as the registry says.
        force: Build even what is unchanged.
    """

    registry: str
    plain: bool
    tag: str
    base: str
    base_digest: str
    force: bool


def main() -> int:
    """Build what is asked for.

    Returns:
        Exit code.
    """
    asked = _arguments()
    try:
        tool = Tool(_tool(asked.tool))
        settings = _settings(asked)
        for name in asked.names or NAMES:
            _make(name, tool, settings)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def _settings(asked: argparse.Namespace) -> Settings:
    plain = bool(asked.registry) and speaks_plain_http(asked.registry)
    base, found = asked.base, ""
    if asked.registry and not base:
        found = manifest_digest(asked.registry, *MIRRORED_BASE, plain=plain)
        base = f"{asked.registry}/{':'.join(MIRRORED_BASE)}" if found else ""
    return Settings(asked.registry, plain, asked.tag, base, found, asked.force)


def _make(name: str, tool: Tool, settings: Settings) -> None:
    dockerfile = ROOT / "images" / name / "Dockerfile"
    arguments = {"BASE": settings.base} if settings.base else {}
    inputs = hash_inputs(dockerfile, {**arguments, "digest of BASE": settings.base_digest})
    image = f"localhost/modelwright/{name}:{settings.tag}"
    started = time.monotonic()
    if settings.force or tool.labels(image).get(INPUTS_LABEL) != inputs:
        tool.build(dockerfile, image, arguments, f"{INPUTS_LABEL}={inputs}", plain=settings.plain)
        how = f"built in {time.monotonic() - started:.0f} s"
    else:
        how = "unchanged"
    if settings.registry:
        target = f"{settings.registry}/modelwright/{name}:{settings.tag}"
        tool.push(image, target, plain=settings.plain)
        how += f", pushed to {target}"
    print(f"{name:12} {tool.size(image):>10}  {how}")


def hash_inputs(dockerfile: Path, arguments: Mapping[str, str]) -> str:
    """Hash of what decides about an image: its Dockerfile, its arguments, and the files it copies."""
    text = dockerfile.read_text()
    digest = hashlib.sha256(f"{text}\0{sorted(arguments.items())}\0".encode())
    for path in copied_files(text):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def copied_files(dockerfile: str) -> Iterator[Path]:
    """Files that a Dockerfile takes from the repository, in a fixed order."""
    for match in _SOURCES.finditer(dockerfile):
        for source in match["words"].split()[:-1]:
            path = ROOT / source
            found = sorted(path.rglob("*")) if path.is_dir() else [path]
            yield from (file for file in found if file.is_file() and not set(_SKIPPED) & set(file.parts))


def speaks_plain_http(registry: str) -> bool:
    """Whether a registry answers over HTTP without TLS."""
    # A TLS port answers plain HTTP with 400; a registry that wants a login answers 401.
    return _head(f"http://{registry}/v2/")[0] not in (0, 400)


def manifest_digest(registry: str, repository: str, tag: str, *, plain: bool) -> str:
    """Digest of an image in a registry that asks for no login; empty if it has none of that name."""
    status, headers = _head(f"http{'' if plain else 's'}://{registry}/v2/{repository}/manifests/{tag}")
    return headers.get("docker-content-digest", "") if status == 200 else ""


def _head(url: str) -> tuple[int, Mapping[str, str]]:
    """Status, 0 for no answer, and headers with lower-case names. A registry of one's own is behind no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    accepted = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"}
    try:
        with opener.open(urllib.request.Request(url, headers=accepted, method="HEAD"), timeout=5) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, {}
    except OSError:
        return 0, {}


def _certificates() -> list[str]:
    folders = (Path("/etc/ssl/certs"), Path("/usr/local/share/ca-certificates"))
    if not folders[1].is_dir() or not any(folders[1].iterdir()):
        return []  # this machine trusts nobody but Debian's own list
    return [word for folder in folders for word in ("--volume", f"{folder}:{folder}:O")]


def _tool(wanted: str) -> str:
    found = next((path for name in ([wanted] if wanted else TOOLS) if (path := shutil.which(name))), None)
    if found is None:
        raise BuildError(f"none of {', '.join([wanted] if wanted else TOOLS)} is installed")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the images, and push them where a registry is named.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    for option, variable, default in (
        ("registry", "REGISTRY", ""),
        ("tag", "TAG", "dev"),
        ("base", "BASE", ""),
        ("tool", "CONTAINER_TOOL", ""),
    ):
        parser.add_argument(f"--{option}", default=os.environ.get(variable) or default, help=f"or ${variable}")
    parser.add_argument("--force", action="store_true", help="build even what is unchanged")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        parser.error(f"no such image: {', '.join(unknown)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
