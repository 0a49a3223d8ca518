"""A Job's last words: its answer as the termination message, which the kubelet keeps to a few kilobytes.

An answer that fits is plain JSON, so that `kubectl get pod -o yaml` can be read. A longer one (a model with a hundred
inputs describes each of them) is compressed: ``zlib:`` and base64.
"""

import base64
import binascii
import zlib

from modelwright.contract.base import Message
from modelwright.contract.paths import TERMINATION_LIMIT

PREFIX = "zlib:"
LONGEST_BYTES = 1024 * 1024
"""An answer that grows beyond this when unpacked is not one of ours."""


def packed(answer: Message) -> bytes | None:
    """The answer as it fits the termination message; None if it does not, even compressed."""
    plain = answer.to_json().encode()
    if len(plain) <= TERMINATION_LIMIT:
        return plain
    data = PREFIX.encode() + base64.b64encode(zlib.compress(plain, 9))
    return data if len(data) <= TERMINATION_LIMIT else None


def unpacked(message: str) -> str:
    """The JSON of a termination message; empty if there is none in it.

    What a program printed before its answer is passed over.
    """
    text = message.strip()
    if text.startswith(PREFIX):
        return _inflated(text.removeprefix(PREFIX))
    start = text.find('{"')
    return text[start:] if start >= 0 else ""


def _inflated(text: str) -> str:
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(base64.b64decode(text, validate=True), LONGEST_BYTES)
        return "" if inflate.unconsumed_tail else plain.decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        return ""
