"""Builds the images, and pushes them where a registry is named. What `make images` calls.

Settings come from options or from the environment:

    CONTAINER_TOOL   buildah, docker or podman; the first one found
    REGISTRY         host[:port]; without one the images stay on this machine, as localhost/modelwright/NAME:TAG
    TAG              dev
    BASE             base image of all of them; the Dockerfiles name Debian's

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

    def build(self, dockerfile: Path, image: str, arguments: Mapping[str, str], label: str) -> None:
        """Build one image."""
        # chroot needs no more than the right to run as root; the machine's own certificates let pip and apt
        # through a proxy that inspects what passes.
        own = ["--isolation", "chroot", "--layers", *_certificates()] if self.is_buildah else []
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
        return done.stdout.strip() or "?"

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


def main() -> int:
    """Build what is asked for.

    Returns:
        Exit code.
    """
    asked = _arguments()
    try:
        tool = Tool(_tool(asked.tool))
        for name in asked.names or NAMES:
            _make(name, tool, asked)
    except BuildError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def _make(name: str, tool: Tool, asked: argparse.Namespace) -> None:
    dockerfile = ROOT / "images" / name / "Dockerfile"
    arguments = {"BASE": asked.base} if asked.base else {}
    inputs = hash_inputs(dockerfile, arguments)
    image = f"localhost/modelwright/{name}:{asked.tag}"
    started = time.monotonic()
    if asked.force or tool.labels(image).get(INPUTS_LABEL) != inputs:
        tool.build(dockerfile, image, arguments, f"{INPUTS_LABEL}={inputs}")
        how = f"built in {time.monotonic() - started:.0f} s"
    else:
        how = "unchanged"
    if asked.registry:
        target = f"{asked.registry}/modelwright/{name}:{asked.tag}"
        plain = speaks_plain_http(asked.registry)
        tool.push(image, target, plain=plain)
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
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"http://{registry}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        # A TLS port answers plain HTTP with 400; a registry that wants a login answers 401.
        return error.code != 400
    except OSError:
        return False
    return True


def _certificates() -> list[str]:
    folders = (Path("/etc/ssl/certs"), Path("/usr/local/share/ca-certificates"))
    if not folders[1].is_dir() or not any(folders[1].iterdir()):
        return []  # this machine trusts nobody but Debian's own list
    return [word for folder in folders for word in ("--volume", f"{folder}:{folder}:ro")]


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
