"""What a file is, by its content. Names lie: a pickle renamed to ``.onnx`` is still a program.

A format that can run code on load is refused, with the export that makes an ONNX file of it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelwright.errors import InputError

HEAD_BYTES: Final = 512
TORCH_EXPORT: Final = "Export it: torch.onnx.export(model, args, 'model.onnx', dynamo=True)."
KERAS_EXPORT: Final = "Export it: model.export('model.onnx', format='onnx')."
SKLEARN_EXPORT: Final = "Export it: skl2onnx.to_onnx(model, X[:1], options={'zipmap': False})."
TF_EXPORT: Final = "Export it: python -m tf2onnx.convert --saved-model DIR --output model.onnx."
PLAIN_EXPORT: Final = "Give an ONNX file."

INERT_SUFFIXES: Final = frozenset({".md", ".txt", ".json", ".yaml", ".yml", ".csv", ".lock", ".gitattributes"})


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: As a message says it.
        remedy: How to get an ONNX file from it; empty for ONNX itself.
    """

    name: str
    remedy: str = ""


ONNX: Final = Format("ONNX")
UNKNOWN: Final = Format("of no known format", PLAIN_EXPORT)

_MAGIC: Final[tuple[tuple[int, bytes, Format], ...]] = (
    (0, b"\x80\x02", Format("a pickle, which runs code on load", SKLEARN_EXPORT)),
    (0, b"\x80\x03", Format("a pickle, which runs code on load", SKLEARN_EXPORT)),
    (0, b"\x80\x04", Format("a pickle, which runs code on load", SKLEARN_EXPORT)),
    (0, b"\x80\x05", Format("a pickle, which runs code on load", SKLEARN_EXPORT)),
    (0, b"\x89HDF\r\n\x1a\n", Format("an HDF5 file (Keras)", KERAS_EXPORT)),
    (
        0,
        b"PK\x03\x04",
        Format("a zip archive (PyTorch, Keras or joblib), which may run code on load", TORCH_EXPORT),
    ),
    (0, b"PK\x05\x06", Format("an empty zip archive", PLAIN_EXPORT)),
    (0, b"\x1f\x8b", Format("a gzip archive", PLAIN_EXPORT + " Unpack it first.")),
    (0, b"BZh", Format("a bzip2 archive (joblib), which may run code on load", SKLEARN_EXPORT)),
    (0, b"\xfd7zXZ\x00", Format("an xz archive (joblib), which may run code on load", SKLEARN_EXPORT)),
    (0, b"\x28\xb5\x2f\xfd", Format("a zstd archive", PLAIN_EXPORT + " Unpack it first.")),
    (0, b"\x7fELF", Format("a native library", PLAIN_EXPORT)),
    (0, b"MZ", Format("a Windows program", PLAIN_EXPORT)),
    (0, b"ftrt", Format("a TensorRT plan, which only its builder's GPU can run", PLAIN_EXPORT)),
    (0, b"GGUF", Format("a GGUF file", PLAIN_EXPORT)),
    (0, b"ORTM", Format("an ORT-format model", PLAIN_EXPORT)),
    (4, b"ORTM", Format("an ORT-format model", PLAIN_EXPORT)),
    (4, b"TFL3", Format("a TensorFlow Lite model", TF_EXPORT)),
    (257, b"ustar", Format("a tar archive", PLAIN_EXPORT + " Unpack it first.")),
    (8, b'{"', Format("a safetensors file, which holds weights without a graph", TORCH_EXPORT)),
)
_ZLIB_HEADS: Final = (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
_TEXT_PICKLE: Final = re.compile(rb"^(\(lp0|\(dp0|c[a-zA-Z_.]+\n[a-zA-Z_]+\n)")
_XML: Final = re.compile(rb"^\s*<(\?xml|net)\b")
_TEXT: Final = re.compile(rb"^[\t\n\r\x20-\x7e]+$")


def sniff(path: Path) -> Format:
    """The format of a regular file, from its first bytes.

    ONNX has no magic number: it is a protobuf that is none of the others. Whether it parses is for the sandbox to see.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return Format("an empty file", PLAIN_EXPORT)
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if path.name == "saved_model.pb":
        return Format("a TensorFlow SavedModel", TF_EXPORT)
    return _sniff_loose(head)


def _sniff_loose(head: bytes) -> Format:
    if head[:2] in _ZLIB_HEADS:
        return Format("a zlib stream (joblib), which may run code on load", SKLEARN_EXPORT)
    if _TEXT_PICKLE.match(head):
        return Format("a pickle, which runs code on load", SKLEARN_EXPORT)
    if head.startswith(b"version https://git-lfs"):
        return Format("a Git LFS pointer, not the file itself", "Fetch it with git lfs pull and upload the real file.")
    if _XML.match(head):
        return Format("an XML file (OpenVINO IR?)", "OpenVINO IR is not read yet; give the ONNX file it was made from.")
    if _TEXT.match(head):
        return Format("text", PLAIN_EXPORT)
    return ONNX if _looks_like_protobuf(head) else UNKNOWN


def _looks_like_protobuf(head: bytes) -> bool:
    """A ModelProto starts with one of its own fields: 1-9, 14, 20, 25 or 26, as a varint or length-delimited."""
    tag, wire = head[0] >> 3, head[0] & 7
    return (tag in {1, 5} and wire == 0) or (tag in {2, 3, 4, 6, 7, 8, 14} and wire == 2)


def require_onnx(path: Path, shown: str) -> None:
    """Refuse a file that is not ONNX.

    Raises:
        InputError: UnsupportedModel, with the export command for what it is.
    """
    kind = sniff(path)
    if kind is not ONNX:
        raise InputError("UnsupportedModel", f"{shown} is {kind.name}.", kind.remedy)
