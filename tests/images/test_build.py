"""What decides whether an image is built anew, and what goes into it."""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


@pytest.fixture
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images_build", ROOT / "images" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["images_build"] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def uv() -> str:
    found = shutil.which("uv", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        pytest.fail("this test needs uv, which `make setup` installs")
    return found


def test_an_image_is_built_anew_when_a_file_of_it_changes(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "source").mkdir()
    for name in ("Dockerfile", "one", "source/two"):
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").write_text("FROM x\nCOPY one /\nCOPY source /source\nCOPY --from=a /b /c\n")
    dockerfile = tmp_path / "Dockerfile"
    first = build.hash_inputs(dockerfile, {})
    assert build.hash_inputs(dockerfile, {}) == first
    (tmp_path / "other").write_text("not copied")
    (tmp_path / "source" / "__pycache__").mkdir()
    (tmp_path / "source" / "__pycache__" / "two.pyc").write_text("not copied")
    assert build.hash_inputs(dockerfile, {}) == first
    assert build.hash_inputs(dockerfile, {"BASE": "y"}) != first
    (tmp_path / "source" / "two").write_text("changed")
    assert build.hash_inputs(dockerfile, {}) != first


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_a_dockerfile_copies_is_there_and_in_the_context(build: ModuleType, dockerfile: Path) -> None:
    copied = list(build.copied_files(dockerfile.read_text()))
    assert copied
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert {path.relative_to(ROOT).parts[0] for path in copied} <= set(allowed)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_every_image_runs_as_nobody_in_particular_on_any_base(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    assert text.count("FROM ${BASE}") == 2
    final = text.rpartition("FROM ${BASE}")[2]
    assert "USER 65532:65532" in final
    assert "pip" not in final.replace("pytriton", "")


def test_a_missing_tool_is_named(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(build.BuildError, match="none of buildah, docker, podman is installed"):
        build._tool("")


def test_a_registry_that_is_down_is_not_spoken_to_in_plain_http(build: ModuleType) -> None:
    assert not build.speaks_plain_http("127.0.0.1:1")


class Registry(BaseHTTPRequestHandler):
    """A registry that holds a base image and nothing else."""

    def do_HEAD(self) -> None:
        known = self.path in ("/v2/", "/v2/base/debian/manifests/bookworm")
        self.send_response(200 if known else 404)
        self.send_header("Docker-Content-Digest", "sha256:base")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_base_that_the_registry_holds_is_used(
    build: ModuleType, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = argparse.Namespace(registry=registry, base="", tag="dev", force=False)
    settings = build._settings(arguments)
    assert (settings.plain, settings.base) == (True, f"{registry}/base/debian:bookworm")
    assert settings.base_digest == "sha256:base"
    arguments.base = "other"
    assert build._settings(arguments).base == "other"
    monkeypatch.setattr(build, "MIRRORED_BASE", ("base/absent", "bookworm"))
    arguments.base = ""
    assert build._settings(arguments).base == ""


@pytest.mark.parametrize("image", ["operator", "optimizer"])
def test_an_images_packages_are_those_of_the_lock_file(uv: str, image: str, tmp_path: Path) -> None:
    # In the same folder, for the file names the command that made it.
    options = ["--frozen", "--no-dev", "--no-default-groups", "--no-emit-project", "--no-header"]
    extras = ["--extra", image, "--extra", "agent"]
    command = [uv, "export", "--quiet", *options, *extras, "--format", "requirements-txt", "-o", tmp_path / "now"]
    subprocess.run(command, cwd=ROOT, check=True)
    committed = ROOT / "images" / image / "requirements.txt"
    assert committed.read_text() == (tmp_path / "now").read_text(), (
        f"uv export {' '.join((*options, *extras))} --format requirements-txt -o {committed.relative_to(ROOT)}"
    )


def test_the_wheel_is_built_with_the_backend_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pinned = re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / "images" / "build.txt").read_text(), re.MULTILINE)
    assert set(project["build-system"]["requires"]) <= set(pinned)


def test_triton_is_pinned_as_it_says_and_by_hash() -> None:
    folder = ROOT / "images" / "triton-cpu"
    for name in ("requirements", "triton"):
        wanted = re.findall(r"^[\w.-]+==[\w.]+", (folder / f"{name}.in").read_text(), re.MULTILINE)
        pinned = re.findall(r"^([\w.-]+==[\w.]+) \\\n +--hash=", (folder / f"{name}.txt").read_text(), re.MULTILINE)
        assert sorted(pinned) == sorted(wanted)
