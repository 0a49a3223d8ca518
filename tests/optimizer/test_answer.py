"""Whatever happens, the answer fits the termination message and is one the contract reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.contract.artifact import Recommendation, Signature, Tensor
from modelwright.contract.paths import TERMINATION_LIMIT
from modelwright.contract.result import OptimizeResult
from modelwright.optimizer import answer


def recommendation(inputs: int) -> Recommendation:
    tensors = tuple(Tensor(name=f"feature_number_{index}", data_type="FP32", dims=(1,)) for index in range(inputs))
    signature = Signature(inputs=tensors, outputs=tensors[:1])
    return Recommendation(
        backend="onnxruntime", files=("model.onnx",), signature=signature, batching=True, max_batch_size=8
    )


@given(st.text(), st.text())
def test_a_failure_fits_whatever_its_texts(message: str, hint: str) -> None:
    data = answer.encode(answer.fail("InvalidModel", message * 100, hint * 100))
    assert len(data) <= TERMINATION_LIMIT
    read = OptimizeResult.model_validate_json(data)
    assert read.failure
    assert len(read.failure.message) <= answer.MESSAGE_CHARS


@pytest.mark.parametrize("inputs", [1, 30, 100, 1000])
def test_a_result_fits_whatever_the_signature(inputs: int) -> None:
    full = OptimizeResult(digest="sha256:" + "0" * 64, outcome="Optimized", recommendation=recommendation(inputs))
    data = answer.encode(full)
    assert len(data) <= TERMINATION_LIMIT
    read = OptimizeResult.model_validate_json(data)
    assert read.digest == full.digest
    assert read.recommendation
    assert read.recommendation.max_batch_size == 8
    kept = len(read.recommendation.signature.inputs)
    assert kept == (inputs if inputs <= 30 else 0)


def test_control_characters_and_line_breaks_do_not_reach_a_message() -> None:
    assert answer.shorten("a\n\tb   c") == "a b c"


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (OptimizeResult(digest="sha256:0", outcome="Optimized"), 0),
        (answer.fail("InvalidModel", ""), 10),
        (answer.fail("StoreUnavailable", "", retriable=True), 11),
    ],
)
def test_the_exit_code_repeats_the_verdict(result: OptimizeResult, code: int) -> None:
    assert answer.exit_code(result) == code
