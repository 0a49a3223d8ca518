"""Measurements become settings that a server can keep."""

import pytest

from modelwright.optimizer import serving
from modelwright.optimizer.tasks import Batch, Generator, Inspection, Load, TensorInfo


def load(*batches: tuple[int, float]) -> Load:
    return Load(load_seconds=0.1234567, memory_bytes=1000, batches=batches)


def inspection(kind: str) -> Inspection:
    first = 4 if kind == "fixed" else "n"
    tensor = TensorInfo(name="x", data_type="FP32", dims=(first, "tokens", 8))
    return Inspection(
        inputs=(tensor,),
        outputs=(tensor,),
        batch=Batch.model_validate({"kind": kind, "size": 4 if kind == "fixed" else 1}),
        generator=Generator(),
        opset=17,
        ir_version=9,
        operators={},
        parameters=0,
        size_bytes=0,
    )


@pytest.mark.parametrize(
    ("batches", "paying"),
    [
        (((1, 100.0), (2, 120.0), (4, 150.0), (8, 300.0)), 4),
        (((1, 100.0), (2, 200.0), (4, 400.0)), 1),
        (((1, 100.0), (2, 199.0), (4, 300.0), (8, 590.0), (16, 900.0)), 16),
    ],
    ids=["grows until it costs the same", "never pays", "a flat step does not stop it"],
)
def test_the_batch_that_pays(batches: tuple[tuple[int, float], ...], paying: int) -> None:
    assert serving.paying_batch(load(*batches)) == paying


def test_requests_wait_only_where_company_is_worth_it() -> None:
    assert serving.queue_delay(load((1, 100.0), (8, 200.0))) == 50
    assert serving.queue_delay(load((1, 100.0), (8, 790.0))) == 0
    assert serving.queue_delay(load((1, 1e6), (8, 1e6))) == serving.MAX_DELAY_US


def test_the_server_accepts_every_batch_the_user_named() -> None:
    made = serving.recommend(inspection("dynamic"), load((1, 100.0), (2, 200.0)), "all", ("model.onnx",), (), (1, 64))
    assert made.max_batch_size == 64
    assert made.load_seconds == 0.123


def test_without_a_free_batch_axis_there_is_no_batching_and_every_axis_is_named() -> None:
    made = serving.recommend(inspection("fixed"), load((4, 100.0)), "basic", ("model.onnx",), (), (4,))
    assert (made.batching, made.max_batch_size, made.max_queue_delay_microseconds) == (False, 0, 0)
    assert made.signature.inputs[0].dims == (4, -1, 8)


def test_the_batch_axis_is_left_out_of_the_signature() -> None:
    assert serving.signature_of(inspection("dynamic")).inputs[0].dims == (-1, 8)
