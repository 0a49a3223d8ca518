"""Last words: what was packed is read back, and what was not ours is nothing."""

import base64
import zlib

import pytest

from modelwright.contract import words
from modelwright.contract.result import Failure, ResolveResult


def test_a_short_answer_stays_readable() -> None:
    data = words.packed(ResolveResult(source="sha256:0"))
    assert data == b'{"source":"sha256:0","sizeBytes":0}'
    assert words.unpacked(data.decode()) == data.decode()


def test_a_long_answer_is_read_back() -> None:
    long = ResolveResult(failure=Failure(reason="InvalidModel", message="x" * 100_000))
    data = words.packed(long)
    assert data
    assert ResolveResult.model_validate_json(words.unpacked(data.decode())) == long


def test_what_was_printed_before_the_answer_is_passed_over() -> None:
    assert words.unpacked('loading…\n{"source":"sha256:0"}\n') == '{"source":"sha256:0"}'


@pytest.mark.parametrize("text", ["", "Killed", "zlib:", "zlib:%%%", "zlib:" + base64.b64encode(b"no").decode()])
def test_what_is_no_answer_is_nothing(text: str) -> None:
    assert words.unpacked(text) == ""


def test_a_bomb_is_nothing() -> None:
    bomb = base64.b64encode(zlib.compress(b"0" * (words.LONGEST_BYTES + 1))).decode()
    assert words.unpacked(f"zlib:{bomb}") == ""
