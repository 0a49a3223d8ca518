"""Reads a user's table: Parquet, or npz without pickle. Columns become arrays whose first axis counts rows."""

import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelwright.errors import InputError
from modelwright.optimizer.graph import untyped
from modelwright.optimizer.rows import NUMPY_TYPES, Array
from modelwright.optimizer.tasks import Table, TensorInfo

FORMATS: Final = "Give Parquet, or npz without pickled objects: one column per model input, 'labels', 'groups'."


def read_columns(table: Table) -> dict[str, Array]:
    """Every column of a table.

    Raises:
        InputError: InvalidData, naming the table and the column.
    """
    path = Path(table.path)
    with path.open("rb") as file:
        head = file.read(4)
    try:
        columns = _read_parquet(path) if head == b"PAR1" else _read_npz(path) if head == b"PK\x03\x04" else None
    except InputError:
        raise
    except Exception as error:
        # pyarrow, zipfile and NumPy each have their own errors for a damaged file.
        text = " ".join(str(error).split())[:120]
        raise InputError("InvalidData", f"{table.shown} cannot be read: {text}", FORMATS) from error
    if columns is None:
        raise InputError("InvalidData", f"{table.shown} is neither Parquet nor npz.", FORMATS)
    _check_lengths(columns, table)
    return columns


def as_input(columns: dict[str, Array], tensor: TensorInfo, row_dims: tuple[int | str, ...], shown: str) -> Array:
    """The column of one model input, in the model's type and shape.

    Args:
        columns: Of the table.
        tensor: The input.
        row_dims: Axes of one row of it.
        shown: Name of the table for messages.

    Raises:
        InputError: InvalidData, naming the column.
    """
    if tensor.name not in columns:
        there = ", ".join(sorted(columns)[:8])
        raise InputError(
            "InvalidData",
            f"{shown} has no column {tensor.name[:60]!r} for the model input; it has: {there[:100]}.",
            "Name one column after each model input.",
        )
    values = columns[tensor.name]
    return _cast(_reshape(values, tensor.name, row_dims, shown), tensor, shown)


def _read_parquet(path: Path) -> dict[str, Array]:
    table: Any = untyped("pyarrow.parquet").read_table(str(path), use_threads=False)
    return {name: _from_arrow(table.column(name), name) for name in table.column_names}


def _from_arrow(column: Any, name: str) -> Array:
    types = untyped("pyarrow.types")
    if column.null_count:
        raise InputError("InvalidData", f"Column {name[:60]!r} has {column.null_count} nulls.", "Fill or drop them.")
    array = column.combine_chunks()
    shape = [len(array)]
    while types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
        if array.null_count:
            raise InputError("InvalidData", f"Column {name[:60]!r} holds null lists.", "Fill or drop them.")
        inner = array.flatten()
        if len(array) and len(inner) % len(array):
            raise _ragged(name)
        size = len(inner) // len(array) if len(array) else 0
        if not types.is_fixed_size_list(array.type) and any(length != size for length in _lengths(array)):
            raise _ragged(name)
        shape.append(size)
        array = inner
    if array.null_count:
        raise InputError("InvalidData", f"Column {name[:60]!r} has nulls in its lists.", "Fill or drop them.")
    return np.asarray(array.to_numpy(zero_copy_only=False)).reshape(shape)


def _lengths(array: Any) -> Array:
    return np.asarray(untyped("pyarrow.compute").list_value_length(array).to_numpy(zero_copy_only=False))


def _ragged(name: str) -> InputError:
    return InputError("InvalidData", f"Column {name[:60]!r} has rows of different lengths.", "Pad every row alike.")


def _read_npz(path: Path) -> dict[str, Array]:
    # A zip bomb is stopped by the sandbox's memory limit; what np.load would unpickle is refused by allow_pickle.
    if not zipfile.is_zipfile(path):
        raise InputError("InvalidData", f"{path.name} is a damaged npz.", "Write it again with numpy.savez.")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _check_lengths(columns: dict[str, Array], table: Table) -> None:
    lengths = {name: values.shape[0] if values.ndim else 0 for name, values in columns.items()}
    if not lengths or not max(lengths.values()):
        raise InputError("InvalidData", f"{table.shown} has no rows.", FORMATS)
    if len(set(lengths.values())) > 1:
        short = min(lengths, key=lambda name: lengths[name])
        raise InputError(
            "InvalidData",
            f"{table.shown}: column {short[:60]!r} has {lengths[short]} rows, others {max(lengths.values())}.",
            "Give every column one entry a row.",
        )


def _reshape(values: Array, name: str, row_dims: tuple[int | str, ...], shown: str) -> Array:
    count = len(values)
    fixed = [axis if isinstance(axis, int) else None for axis in row_dims]
    got = values.shape[1:]
    if len(got) == len(fixed) and all(want in {None, have} for want, have in zip(fixed, got, strict=True)):
        return values
    free = fixed.count(None)
    known = int(np.prod([axis for axis in fixed if axis is not None]))
    size = int(np.prod(got))
    if free <= 1 and known and size % known == 0 and (free == 1 or size == known):
        return values.reshape(count, *(-1 if axis is None else axis for axis in fixed))
    raise InputError(
        "InvalidData",
        f"{shown}: column {name[:60]!r} has rows of shape {list(got)}; the model takes {list(row_dims)}.",
        "Store each row in the model's shape, or flattened.",
    )


def _cast(values: Array, tensor: TensorInfo, shown: str) -> Array:
    kind = NUMPY_TYPES[tensor.data_type]
    wanted_text, is_text = tensor.data_type == "STRING", values.dtype.kind in "OUS"
    if wanted_text != is_text:
        raise InputError(
            "InvalidData",
            f"{shown}: column {tensor.name[:60]!r} is {values.dtype}; the model takes {tensor.data_type}.",
            "Store the column in the model's type.",
        )
    if wanted_text:
        return values.astype(np.str_).astype(np.object_)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise InputError("InvalidData", f"{shown}: column {tensor.name[:60]!r} has {bad} NaN or infinite values.", "")
    cast = values.astype(kind)
    if np.dtype(kind).kind in "iu" and not np.array_equal(cast, values):
        raise InputError(
            "InvalidData",
            f"{shown}: column {tensor.name[:60]!r} does not fit {tensor.data_type}.",
            "Store whole numbers within the type's range.",
        )
    return cast
