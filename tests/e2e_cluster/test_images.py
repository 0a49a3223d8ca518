"""What decides whether an image is built again."""

from pathlib import Path

from e2e.cluster.images import copied_sources, hash_inputs

_DOCKERFILE = """\
FROM debian AS fetch
COPY --chown=1:1 pyproject.toml \\
    uv.lock /src/
COPY ["a file", "/there/"]
ADD ${PROGRAM} /usr/local/bin/
FROM scratch
COPY --from=fetch /src /src
"""


def _context(directory: Path) -> Path:
    (directory / "package").mkdir(parents=True)
    (directory / "package" / "main.py").write_text("print(1)")
    (directory / "other.txt").write_text("other")
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY package /package\n")
    return directory


def _hash(context: Path, base: str = "base", **arguments: str) -> str:
    return hash_inputs(context, context / "Dockerfile", arguments, base)


def test_sources_of_copy_and_add_are_found_without_those_of_other_stages() -> None:
    found = copied_sources(_DOCKERFILE, {"PROGRAM": "envoy"})
    assert found == ["pyproject.toml", "uv.lock", "a file", "envoy"]


def test_an_unknown_build_argument_in_a_path_matches_anything() -> None:
    assert copied_sources("COPY ${PROGRAM} /bin/", {}) == ["*"]


def test_a_file_that_is_not_copied_does_not_matter(tmp_path: Path) -> None:
    context = _context(tmp_path)
    before = _hash(context)
    (context / "other.txt").write_text("changed")
    assert _hash(context) == before


def test_a_copied_file_the_base_and_the_arguments_matter(tmp_path: Path) -> None:
    context = _context(tmp_path)
    before = _hash(context)
    assert before != _hash(context, base="another")
    assert before != _hash(context, VERSION="2")
    (context / "package" / "main.py").write_text("print(2)")
    assert before != _hash(context)


def test_byte_code_does_not_matter(tmp_path: Path) -> None:
    context = _context(tmp_path)
    before = _hash(context)
    (context / "package" / "__pycache__").mkdir()
    (context / "package" / "__pycache__" / "main.pyc").write_bytes(b"x")
    assert _hash(context) == before
