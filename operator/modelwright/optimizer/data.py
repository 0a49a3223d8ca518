"""From a user's tables, or from nothing, to the row files of a run.

Rows are split by a hash of their group, or of their content: a row that occurs twice falls on one side, a run is
repeatable, and a row that proves quality (``confirm``) was never read by anything that chose or tuned.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from modelwright.errors import InputError
from modelwright.optimizer.intake import generate
from modelwright.optimizer.rows import Array, Rows
from modelwright.optimizer.tables import as_input, read_columns
from modelwright.optimizer.tasks import Inspection, PrepareQuestion, Splits, Table

SELECT_SHARE: Final = 0.35
"""Part of the evaluation rows that chooses; the rest proves, because proof needs more rows than choice."""

PROBE_ROWS: Final = 64
LABELS, GROUPS = "labels", "groups"


@dataclass(frozen=True)
class Read:
    """A table read for a model, with the kind of its labels."""

    rows: Rows
    labels: Literal["none", "integer", "float", "text"]
    binary: bool


def prepare(question: PrepareQuestion) -> Splits:
    """Write ``probe``, and with data ``calibration``, ``select`` and ``confirm``, below ``question.folder``.

    Raises:
        InputError: InvalidData, naming the table and the column.
    """
    folder, inspection = Path(question.folder), question.inspection
    folder.mkdir(parents=True, exist_ok=True)
    if question.calibration is None and question.evaluation is None:
        rows = generate.make_rows(
            inspection.inputs, inspection.batch, inspection.generator, question.generated_rows, question.seed
        )
        return _write({"probe": rows}, None, folder)
    if question.evaluation is None or question.calibration is None:
        table = question.evaluation or question.calibration
        return _prepare_one(_require(table), inspection, folder)
    read = _read(question.evaluation, inspection)
    kept = sample(read.rows, question.evaluation)
    select, confirm = split(kept, question.evaluation.seed, question.evaluation.shown)
    calibration = _without(sample(_read(question.calibration, inspection).rows, question.calibration), confirm)
    parts = {"calibration": calibration, "select": select, "confirm": confirm, "probe": _head(select)}
    return _write(parts, read, folder)


def row_hashes(rows: Rows, seed: int) -> Array:
    """A 64-bit hash a row, of its group if it has one, else of its inputs.

    Returns:
        ``uint64``, shape ``(rows,)``.
    """
    salt = seed.to_bytes(8, "little", signed=True)
    if rows.groups is not None:
        keys = [str(group).encode() for group in rows.groups]
    else:
        keys = [b"".join(_bytes(values[i]) for values in rows.inputs.values()) for i in range(rows.count)]
    digests = [hashlib.blake2b(key, digest_size=8, salt=salt).digest() for key in keys]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def sample(rows: Rows, table: Table) -> Rows:
    """At most ``table.max_samples`` rows, those with the smallest hashes, in that order; whole groups stay together.

    The order matters: what reads only the first rows must not read only the first class of a sorted table.
    """
    hashes = row_hashes(rows, table.seed)
    kept = np.flatnonzero(_among_smallest(hashes, table.max_samples))
    return rows.take(kept[np.argsort(hashes[kept], kind="stable")])


def split(rows: Rows, seed: int, shown: str) -> tuple[Rows, Rows]:
    """The select and the confirm rows.

    Raises:
        InputError: InvalidData if either side would be empty.
    """
    # Another salt than `sample`'s: the rows it keeps have small hashes, and would all fall on one side.
    chosen = row_hashes(rows, ~seed) < np.uint64(SELECT_SHARE * 2**64)
    if chosen.all() or not chosen.any():
        raise InputError(
            "InvalidData", f"{shown} has too few distinct rows or groups to split ({rows.count} rows).", "Give more."
        )
    return rows.take(np.flatnonzero(chosen)), rows.take(np.flatnonzero(~chosen))


def _require(table: Table | None) -> Table:
    assert table is not None
    return table


def _prepare_one(table: Table, inspection: Inspection, folder: Path) -> Splits:
    """One table for everything: calibration reads the select rows, never the confirm rows."""
    read = _read(table, inspection)
    select, confirm = split(sample(read.rows, table), table.seed, table.shown)
    parts = {"calibration": select, "select": select, "confirm": confirm, "probe": _head(select)}
    return _write(parts, read, folder)


def _without(rows: Rows, proof: Rows) -> Rows:
    """Calibration rows that are not among the proof: the same table may be given for both."""
    plain = Rows(rows.inputs)
    left = plain.take(np.flatnonzero(~np.isin(row_hashes(plain, 0), row_hashes(Rows(proof.inputs), 0))))
    if not left.count:
        raise InputError("InvalidData", "Every calibration row is an evaluation row too.", "Give other rows.")
    return left


def _read(table: Table, inspection: Inspection) -> Read:
    columns = read_columns(table)
    batched = inspection.batch.kind != "none"
    inputs = {
        tensor.name: as_input(columns, tensor, tensor.dims[1:] if batched else tensor.dims, table.shown)
        for tensor in inspection.inputs
    }
    taken = {tensor.name for tensor in inspection.inputs}
    labels = columns.get(LABELS) if LABELS not in taken else None
    groups = columns.get(GROUPS) if GROUPS not in taken else None
    kind, binary = _label_kind(labels, table.shown)
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if labels is not None:
        labels = labels.astype(np.str_) if kind == "text" else labels.reshape(len(labels), -1)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    return Read(Rows(inputs, labels, groups), kind, binary)


def _label_kind(labels: Array | None, shown: str) -> tuple[Literal["none", "integer", "float", "text"], bool]:
    if labels is None:
        return "none", False
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError("InvalidData", f"{shown}: column 'labels' has NaN or infinite values.", "Fill or drop them.")
    if labels.dtype.kind in "OUS":
        return "text", False
    binary = bool(np.isin(labels, (0, 1)).all())
    whole = labels.dtype.kind in "iub" or bool(np.equal(labels, np.round(labels)).all() and binary)
    return ("integer" if whole else "float"), binary


def _among_smallest(hashes: Array, count: int) -> Array:
    if len(hashes) <= count:
        return np.ones(len(hashes), dtype=np.bool_)
    limit = np.partition(hashes, count - 1)[count - 1]
    kept = hashes <= limit
    # A group on the limit may exceed the count; without it there may be nothing left.
    return kept if kept.sum() <= count or not (hashes < limit).any() else hashes < limit


def _head(rows: Rows) -> Rows:
    return rows.take(np.arange(min(PROBE_ROWS, rows.count)))


def _bytes(row: Any) -> bytes:
    """Content of one row of a column: an array, or a plain string."""
    value = np.asarray(row)
    return str(value.tolist()).encode() if value.dtype.kind in "OU" else np.ascontiguousarray(value).tobytes()


def _write(parts: dict[str, Rows], read: Read | None, folder: Path) -> Splits:
    paths = {name: str(folder / f"{name}.npz") for name in parts}
    for name, rows in parts.items():
        rows.save(Path(paths[name]))
    return Splits(
        probe=paths["probe"],
        calibration=paths.get("calibration"),
        select=paths.get("select"),
        confirm=paths.get("confirm"),
        rows={name: rows.count for name, rows in parts.items()},
        labels=read.labels if read else "none",
        binary=bool(read and read.binary),
        groups=bool(read and read.rows.groups is not None),
    )
