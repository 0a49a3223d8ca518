"""Whatever happens, the answer fits the termination message and is one the contract reads."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.contract import words
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
def test_a_result_fits_and_is_read_whole(inputs: int) -> None:
    full = OptimizeResult(digest="sha256:" + "0" * 64, outcome="Optimized", recommendation=recommendation(inputs))
    data = answer.encode(full)
    assert len(data) <= TERMINATION_LIMIT
    assert OptimizeResult.model_validate_json(words.unpacked(data.decode())) == full


def test_a_signature_that_cannot_fit_is_refused_by_its_size() -> None:
    names = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(500)]
    tensors = tuple(Tensor(name=name, data_type="FP32", dims=(1,)) for name in names)
    found = recommendation(1).model_copy(update={"signature": Signature(inputs=tensors, outputs=tensors[:1])})
    data = answer.encode(OptimizeResult(digest="sha256:0", outcome="Optimized", recommendation=found))
    read = OptimizeResult.model_validate_json(data)
    assert read.failure
    assert read.failure.reason == "UnsupportedModel"
    assert "501 inputs and outputs" in read.failure.message


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
