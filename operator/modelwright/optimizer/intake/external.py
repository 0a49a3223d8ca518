"""Weights beside the graph: each reference is checked before it is read.

A reference is a path, an offset and a length chosen by whoever made the file, so it is treated like a path from the
network: no absolute path, no way up, no link on the way, nothing beyond the end of the file.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto

from modelwright.errors import InputError
from modelwright.optimizer import graph
from modelwright.optimizer.intake.files import require_plain


def read_weights(model: onnx.ModelProto, folder: Path) -> int:
    """Put every external tensor into the graph.

    Args:
        model: Parsed without its external data; changed in place.
        folder: Where the graph lies.

    Returns:
        Number of tensors read.

    Raises:
        InputError: UnsafePath, ExternalDataMissing or InvalidModel.
    """
    count = 0
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.raw_data = _read(tensor, folder)
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]
            count += 1
    return count


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for inner in graph.graphs_in(model):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _attribute_tensors(inner.node)
    for function in model.functions:
        yield from _attribute_tensors(function.node)


def _attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _read(tensor: TensorProto, folder: Path) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = _resolve(location, folder)
    if not path.exists():
        raise InputError(
            "ExternalDataMissing",
            f"Weights file {location[:80]!r} of tensor {tensor.name[:40]!r} is not in the source.",
            "Upload it beside the .onnx file and point spec.model.uri at the folder.",
        )
    require_plain(path, location)
    size = path.stat().st_size
    offset, length = _number(entries, "offset", 0), _number(entries, "length", -1)
    length = size - offset if length < 0 else length
    if offset > size or offset + length > size:
        raise InputError(
            "InvalidModel",
            f"Tensor {tensor.name[:40]!r} wants bytes {offset}..{offset + length} of {location[:60]!r}, {size} long.",
            "The file is truncated, or belongs to another graph: upload both again.",
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _resolve(location: str, folder: Path) -> Path:
    pure = PurePosixPath(location)
    if not location or pure.is_absolute() or ".." in pure.parts or "\\" in location or "\0" in location:
        raise InputError(
            "UnsafePath",
            f"Weights file {location[:80]!r} lies outside the model's folder.",
            "Export to one folder.",
        )
    for depth in range(1, len(pure.parts)):
        parent = folder.joinpath(*pure.parts[:depth])
        if parent.is_symlink():
            raise InputError("UnsafePath", f"{pure.parts[depth - 1]!r} is a symbolic link.", "Upload a real folder.")
    return folder / pure


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal():
        raise InputError("InvalidModel", f"External data has {key} {text[:20]!r}.", "Export the model again.")
    return int(text)
