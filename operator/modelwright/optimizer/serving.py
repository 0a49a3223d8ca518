"""How the winner should be served, measured on ONNX Runtime itself: batch sizes that pay, load time, memory."""

import gc
import time
from pathlib import Path
from typing import Final

import numpy as np

from modelwright.contract.artifact import Backend, Recommendation, Signature, Tensor
from modelwright.optimizer.benchmark import Runner, feeds_of
from modelwright.optimizer.engines.onnxruntime import OnnxRuntime
from modelwright.optimizer.graph import untyped
from modelwright.optimizer.rows import Rows
from modelwright.optimizer.tasks import GraphLevel, Inspection, Load, ServingQuestion, TensorInfo

LARGEST_BATCH: Final = 128
PAYS: Final = 0.95
"""A doubled batch pays if a row then costs at most this part of what it did."""
BATCHING_PAYS: Final = 0.8
"""Waiting for company pays if a row in the best batch costs at most this part of a row alone."""
MAX_DELAY_US: Final = 2000
SWEEP_ROUNDS: Final = 5
LONG_CALL: Final = 0.25
"""Seconds of one call beyond which no larger batch is tried."""


def measure_load(question: ServingQuestion) -> Load:
    """Load once, then time growing batches until a call becomes long or the largest batch is reached."""
    process = untyped("psutil").Process()
    rows = Rows.load(question.rows)
    untyped("onnxruntime")  # the library's own memory is not the model's
    gc.collect()
    before, started = process.memory_info().rss, time.perf_counter()
    session = OnnxRuntime().load(Path(question.model.model), question.model.graph_level)
    seconds = time.perf_counter() - started
    batches: list[tuple[int, float]] = []
    for size in sorted({*question.batch_sizes, *_powers(question)}):
        runner = Runner(question.model.id, session)
        feeds = feeds_of(rows, size, question.batch)
        runner.prepare(feeds, question.round_seconds)
        if runner.each > LONG_CALL and size > max(question.batch_sizes):
            break
        for _ in range(SWEEP_ROUNDS):
            runner.play(feeds)
        batches.append((size, float(np.median(runner.cpu)) * 1e6))
    used = max(0, process.memory_info().rss - before)
    return Load(load_seconds=seconds, memory_bytes=used, batches=tuple(batches))


def recommend(
    inspection: Inspection, load: Load, graph_level: GraphLevel, files: tuple[str, ...], isa: tuple[str, ...],
    batch_sizes: tuple[int, ...],
) -> Recommendation:  # fmt: skip
    """Turn measurements into settings.

    Args:
        inspection: Of the source model; optimization keeps its interface.
        load: Of the winner.
        graph_level: Of the winner.
        files: Below ``model/``.
        isa: CPU features the winner's speed relies on.
        batch_sizes: That the user asked for; the server must accept them all.
    """
    batching = inspection.batch.kind == "dynamic"
    paying = paying_batch(load) if batching else 0
    backend: Backend = "onnxruntime"
    return Recommendation(
        backend=backend,
        files=files,
        signature=signature_of(inspection),
        batching=batching,
        max_batch_size=max(paying, *batch_sizes) if batching else 0,
        preferred_batch_sizes=(),
        max_queue_delay_microseconds=queue_delay(load) if batching else 0,
        graph_level=graph_level,
        load_seconds=round(load.load_seconds, 3),
        memory_bytes=load.memory_bytes,
        isa=isa,
    )


def paying_batch(load: Load) -> int:
    """The largest batch up to which every growth still made a row clearly cheaper."""
    best, cost = load.batches[0][0], load.batches[0][1] / load.batches[0][0]
    for size, microseconds in load.batches[1:]:
        if microseconds / size <= cost * PAYS:
            best, cost = size, microseconds / size
    return best


def queue_delay(load: Load) -> int:
    """Microseconds a request may wait for company: half a call alone, if batching saves enough; else none.

    The wait then adds at most half to the latency of a request that nobody joins.
    """
    alone = load.batches[0][1] / load.batches[0][0]
    cheapest = min(microseconds / size for size, microseconds in load.batches)
    return min(MAX_DELAY_US, round(alone / 2)) if cheapest <= alone * BATCHING_PAYS else 0


def signature_of(inspection: Inspection) -> Signature:
    """Inputs and outputs as Triton names them: without the batch axis if there is one, -1 for a dynamic size."""
    skip = 1 if inspection.batch.kind == "dynamic" else 0
    return Signature(
        inputs=tuple(_tensor(tensor, skip) for tensor in inspection.inputs),
        outputs=tuple(_tensor(tensor, skip) for tensor in inspection.outputs),
    )


def _tensor(tensor: TensorInfo, skip: int) -> Tensor:
    dims = tuple(-1 if isinstance(axis, str) else axis for axis in tensor.dims[skip:])
    return Tensor(name=tensor.name, data_type=tensor.data_type, dims=dims)


def _powers(question: ServingQuestion) -> list[int]:
    if question.batch.kind != "dynamic":
        return [question.batch.size]
    return [1 << power for power in range(LARGEST_BATCH.bit_length())]
