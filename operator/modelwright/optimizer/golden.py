"""The golden pair: one request and the packaged model's own answer, replayed by the start-up probe.

Inputs are generated, never rows of the user's data: the pair travels with the artifact and to every pod.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from modelwright.contract.artifact import Golden
from modelwright.errors import InputError
from modelwright.optimizer.engines.onnxruntime import OnnxRuntime
from modelwright.optimizer.intake.generate import make_rows
from modelwright.optimizer.rows import Array
from modelwright.optimizer.tasks import GoldenAnswer, GoldenQuestion

DIGITS: Final = 3
"""Decimals of float inputs: enough to be distinct, few enough to be short."""
TOLERANCE: Final = 1e-3
LOSSY_TOLERANCE: Final = 2e-2
"""int8 kernels of another CPU round differently; a broken model is off by far more."""
V2_TYPES: Final = {"STRING": "BYTES"}


def make_golden(question: GoldenQuestion) -> GoldenAnswer:
    """Run one row (or one fixed batch) and write both sides down.

    Raises:
        InputError: NonFiniteOutput if the answer has a NaN or infinite value.
    """
    inspection = question.inspection
    batch = inspection.batch
    count = batch.size if batch.kind == "fixed" else 1
    rows = make_rows(inspection.inputs, batch, inspection.generator, count, question.seed + 1)
    feeds = {name: _rounded(values) for name, values in rows.feeds(0, count, batch).items()}
    outputs = OnnxRuntime().load(Path(question.model.model), question.model.graph_level).run(feeds)
    types = {tensor.name: tensor.data_type for tensor in (*inspection.inputs, *inspection.outputs)}
    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError("NonFiniteOutput", f"Output {name[:40]!r} of the packaged model is not finite.", "")
    relative = LOSSY_TOLERANCE if question.lossy else TOLERANCE
    golden = Golden(
        request={"inputs": [_v2(name, types[name], values, batch.kind) for name, values in feeds.items()]},
        outputs={name: _plain(values) for name, values in outputs.items()},
        rtol=relative,
        atol=relative * max(_scale(values) for values in outputs.values()),
        tolerances={name: relative * _scale(values) for name, values in outputs.items()},
    )
    return GoldenAnswer(golden=golden)


def _v2(name: str, data_type: str, values: Array, batch: str) -> dict[str, Any]:
    # Triton knows no tensor without an axis besides the batch: such an input is sent with one of size 1.
    bare = values.ndim == (1 if batch == "dynamic" else 0)
    shape = [*values.shape, 1] if bare else list(values.shape)
    return {"name": name, "datatype": V2_TYPES.get(data_type, data_type), "shape": shape, "data": _plain(values)}


def _plain(values: Array) -> list[Any]:
    return json.loads(json.dumps(values.reshape(-1).tolist()))


def _rounded(values: Array) -> Array:
    return np.round(values, DIGITS).astype(values.dtype) if values.dtype.kind == "f" else values


def _scale(values: Array) -> float:
    """RMS of a float output: a tolerance in its parts fits logits and probabilities alike. 0 for other outputs."""
    if values.dtype.kind != "f" or not values.size:
        return 0.0
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64))))) or 1.0
