"""The sandbox's half of intake: parse, check, normalize, then run the model to see how it batches."""

import contextlib
import itertools
import re
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from modelwright.errors import InputError
from modelwright.optimizer import graph
from modelwright.optimizer.engines import Session
from modelwright.optimizer.engines.onnxruntime import OnnxRuntime
from modelwright.optimizer.intake import checks, external, generate, normalize
from modelwright.optimizer.rows import Array, Rows
from modelwright.optimizer.sandbox import is_out_of_memory
from modelwright.optimizer.tables import read_columns
from modelwright.optimizer.tasks import Batch, Generator, Inspection, InspectQuestion, TensorInfo

STYLES: Final = ("normal", "unit", "ones")
TOLERANCE: Final = 1e-3
PROBE_ROWS: Final = 3
NOISE: Final = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : |Load model from \S+ failed: ?|Non-zero status code returned while "
    r"|/\S+/onnxruntime/\S+ "
)


Found = tuple[Batch, dict[str, Array]] | None
"""How rows are fed, and the outputs that came of it."""


def inspect(question: InspectQuestion) -> Inspection:
    """Check a source model and write its normalized form to ``question.target``.

    Raises:
        InputError: Whatever makes the model unusable, with the remedy.
    """
    model = _parse(Path(question.source))
    checks.check_size(model)
    external.read_weights(model, Path(question.folder))
    checks.check(model)
    _check_form(model)
    notes = normalize.strip(model)
    model, converted = normalize.to_opset(model, question.max_opset)
    notes += converted + normalize.to_ir_version(model, question.max_ir_version)
    target = Path(question.target)
    graph.save(model, target)
    session = _load(target)
    inputs = tuple(_describe(value) for value in graph.true_inputs(model.graph))
    batch, generator, outputs = _try(session, model, inputs, question)
    described = _described_outputs(model, outputs, batch)
    if normalize.declare_outputs(model, described):
        graph.save(model, target)
        notes.append("outputs were declared otherwise than they come out")
    return Inspection(
        inputs=inputs,
        outputs=described,
        batch=batch,
        generator=generator,
        opset=graph.opset_of(model),
        ir_version=model.ir_version,
        operators=graph.count_operators(model),
        parameters=sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer),
        size_bytes=graph.size_of(target),
        notes=tuple(notes),
    )


def _parse(path: Path) -> onnx.ModelProto:
    model, data = onnx.ModelProto(), path.read_bytes()
    try:
        model.ParseFromString(data)
    except Exception as error:
        # protobuf's DecodeError class differs between its implementations; every kind means the same.
        raise InputError(
            "InvalidModel",
            f"{path.name} does not parse as ONNX: it is truncated or damaged.",
            "Upload it again.",
        ) from error
    if not model.HasField("graph") or not model.opset_import:
        raise InputError("InvalidModel", f"{path.name} holds no ONNX graph.", "Upload an ONNX model.")
    return model


def _check_form(model: onnx.ModelProto) -> None:
    if model.ByteSize() > graph.SINGLE_FILE_LIMIT:
        return  # The checker takes models below 2 GiB only; loading still validates the graph.
    try:
        onnx.checker.check_model(model)  # pyright: ignore[reportUnknownMemberType] - PathLike without its type
    except onnx.checker.ValidationError as error:
        first = " ".join(str(error).split())[:160]
        raise InputError("InvalidModel", f"The ONNX checker says: {first}", "Export the model again.") from error


def _load(path: Path) -> Session:
    try:
        return OnnxRuntime().load(path)
    except Exception as error:
        # ONNX Runtime's exceptions have no common base but Exception; its word for a missing kernel is in the text.
        text = _said(error)
        missing = "NOT_IMPLEMENTED" in text or "is not a registered function" in text
        reason = "UnsupportedOperator" if missing else "InvalidModel"
        raise InputError(reason, f"ONNX Runtime refuses it: {text}", "Export the model again.") from error


def _said(error: Exception) -> str:
    """What ONNX Runtime's error says, without its codes and the places of our scratch files."""
    text = " ".join(str(error).split())
    return NOISE.sub("", text)[:180]


def _describe(value: onnx.ValueInfoProto) -> TensorInfo:
    dims = graph.dims_of(value) or []
    named = tuple(
        axis if isinstance(axis, int) else axis or f"{value.name}:{position}" for position, axis in enumerate(dims)
    )
    kind = graph.triton_type(value.type.tensor_type.elem_type)
    return TensorInfo(name=value.name, data_type=kind, dims=named)


def _try(
    session: Session, model: onnx.ModelProto, inputs: tuple[TensorInfo, ...], question: InspectQuestion
) -> tuple[Batch, Generator, dict[str, Array]]:
    """Find inputs that run and give finite outputs, and the batch axis that results show rather than names claim."""
    errors: list[Exception] = []
    ran = False
    bounds, all_sizes = generate.index_bounds(model), generate.sizes_to_try(model, inputs, _columns(question))
    for style, sizes in itertools.product(STYLES, all_sizes):
        generator = Generator(style=style, sizes=sizes, index_bounds=bounds)
        found = _first_that_runs(session, inputs, generator, question.seed, errors)
        if found is None:
            continue
        ran = True
        if all(np.isfinite(values).all() for values in found[1].values() if values.dtype.kind == "f"):
            return found[0], generator, found[1]
    if ran:
        message = "The source model gives NaN or infinity on every kind of generated input."
        raise InputError("NonFiniteOutput", message, "Check the export: run the model on one real row.")
    if is_out_of_memory(str(errors[0])):
        raise MemoryError
    raise InputError("InvalidModel", f"The model does not run: {_said(errors[0])}", "Run it once where it was made.")


def _columns(question: InspectQuestion) -> dict[str, tuple[int, ...]]:
    """Shapes of one row of each column of the user's tables; what is wrong with a table is told when it is prepared."""
    shapes: dict[str, tuple[int, ...]] = {}
    for table in question.tables:
        with contextlib.suppress(InputError):
            shapes = {name: values.shape[1:] for name, values in read_columns(table).items()} | shapes
    return shapes


def _first_that_runs(
    session: Session, inputs: tuple[TensorInfo, ...], generator: Generator, seed: int, errors: list[Exception]
) -> Found:
    for attempt in (_as_dynamic, _as_fixed, _as_single):
        try:
            found = attempt(session, inputs, generator, seed)
        except Exception as error:  # noqa: BLE001 - another way of feeding it may run; the first error is told
            errors.append(error)
            continue
        if found is not None:
            return found
    return None


def _as_dynamic(session: Session, inputs: tuple[TensorInfo, ...], generator: Generator, seed: int) -> Found:
    """A free first axis on every input, and outputs that follow it row by row."""
    if any(not tensor.dims or isinstance(tensor.dims[0], int) for tensor in inputs):
        return None
    batch = Batch(kind="dynamic")
    rows = generate.make_rows(inputs, batch, generator, PROBE_ROWS, seed)
    together = session.run(rows.feeds(0, PROBE_ROWS, batch))
    if any(values.ndim == 0 or len(values) != PROBE_ROWS for values in together.values()):
        return None
    alone = session.run(rows.feeds(1, 1, batch))
    same = all(_close(together[name][1:2], alone[name]) for name in together)
    return (batch, together) if same else None


def _as_fixed(session: Session, inputs: tuple[TensorInfo, ...], generator: Generator, seed: int) -> Found:
    """One and the same fixed size in front of every input and output."""
    sizes = {tensor.dims[0] if tensor.dims else None for tensor in inputs}
    size = sizes.pop()
    if sizes or not isinstance(size, int):
        return None
    batch = Batch(kind="fixed", size=size)
    rows = generate.make_rows(inputs, batch, generator, size, seed)
    outputs = session.run(rows.feeds(0, size, batch))
    if any(values.ndim == 0 or len(values) != size for values in outputs.values()):
        return None
    return (batch, outputs) if _is_by_row(session, rows, batch, outputs) else None


def _is_by_row(session: Session, rows: Rows, batch: Batch, outputs: dict[str, Array]) -> bool:
    """Whether a row's outputs are its own: equal sizes may be chance (a matrix), or rows may look at each other."""
    for changed in range(min(batch.size, PROBE_ROWS)):
        order = np.arange(batch.size)
        order[changed] = (changed + 1) % batch.size
        again = session.run(rows.take(order).feeds(0, batch.size, batch))
        others = np.delete(np.arange(batch.size), changed)
        if not all(_close(again[name][others], outputs[name][others]) for name in outputs):
            return False
        if not all(_close(again[name][changed], outputs[name][order[changed]]) for name in outputs):
            return False
    return True


def _as_single(session: Session, inputs: tuple[TensorInfo, ...], generator: Generator, seed: int) -> Found:
    """No batch axis: a row is a whole call."""
    batch = Batch(kind="none")
    rows = generate.make_rows(inputs, batch, generator, 1, seed)
    return batch, session.run(rows.feeds(0, 1, batch))


def _close(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return True  # A label may flip on a tie; the float outputs decide.
    return bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def _described_outputs(model: onnx.ModelProto, outputs: dict[str, Array], batch: Batch) -> tuple[TensorInfo, ...]:
    """Declared outputs; where rank or batch axis was declared wrongly, or not at all, what came out."""
    described: list[TensorInfo] = []
    for value in model.graph.output:
        info, seen = _describe(value), outputs[value.name]
        dims: tuple[int | str, ...] = info.dims
        if graph.dims_of(value) is None or len(dims) != seen.ndim:
            dims = tuple(f"{value.name}:{position}" for position in range(seen.ndim))
        if batch.kind == "dynamic" and isinstance(dims[0], int):
            dims = (f"{value.name}:0", *dims[1:])
        described.append(info.model_copy(update={"dims": dims}))
    return tuple(described)
