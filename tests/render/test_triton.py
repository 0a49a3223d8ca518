"""`config.pbtxt`, read back by protobuf's own parser."""

from typing import Any, cast

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2  # pyright: ignore[reportMissingTypeStubs]

from modelwright.api.model import DynamicBatching, InstanceGroup, Serving
from modelwright.contract.artifact import Recommendation, Signature, Tensor
from modelwright.errors import InputError
from modelwright.render import triton
from tests.render import samples


def parsed(recommendation: Recommendation, serving: Serving | None = None) -> Any:
    text = triton.render_config("ranker", recommendation, serving or Serving())
    config: Any = cast("Any", model_config_pb2).ModelConfig()
    return text_format.Parse(text, config)


def parameters(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_what_was_measured_is_written() -> None:
    config = parsed(samples.recommendation(intra_op_threads=2, instance_count=3))
    assert (config.name, config.backend, config.default_model_filename) == ("ranker", "onnxruntime", "model.onnx")
    assert config.max_batch_size == 32
    assert [(i.name, list(i.dims)) for i in config.input] == [("features", [64]), ("ids", [-1])]
    assert [(o.name, list(o.dims)) for o in config.output] == [("score", [1])]
    assert list(config.dynamic_batching.preferred_batch_size) == [8, 32]
    assert config.dynamic_batching.max_queue_delay_microseconds == 100
    (group,) = config.instance_group
    assert (group.count, group.Kind.Name(group.kind)) == (3, "KIND_CPU")
    assert parameters(config) == {"intra_op_thread_count": "2", "inter_op_thread_count": "1"}


def test_the_user_wins_over_the_measurement() -> None:
    serving = Serving(
        max_batch_size=16,
        dynamic_batching=DynamicBatching(max_queue_delay_microseconds=500),
        instance_group=InstanceGroup(count=2),
    )
    config = parsed(samples.recommendation(), serving)
    assert config.max_batch_size == 16
    assert list(config.dynamic_batching.preferred_batch_size) == []
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert config.instance_group[0].count == 2


def test_a_preferred_size_above_the_largest_batch_is_left_out_for_triton_would_refuse_the_model() -> None:
    config = parsed(samples.recommendation(), Serving(max_batch_size=16))
    assert list(config.dynamic_batching.preferred_batch_size) == [8]


@pytest.mark.parametrize(
    ("recommendation", "serving", "largest", "batcher"),
    [
        pytest.param({"batching": False}, {}, 0, False, id="no batch axis"),
        pytest.param({"batching": False}, {"max_batch_size": 8}, 0, False, id="no batch axis, whatever is asked"),
        pytest.param({}, {"max_batch_size": 0}, 0, False, id="turned off"),
        pytest.param({"max_batch_size": 1}, {}, 1, False, id="nothing to batch"),
        pytest.param({"max_batch_size": 4, "preferred_batch_sizes": ()}, {}, 4, True, id="Triton chooses the sizes"),
    ],
)
def test_batching(recommendation: dict[str, Any], serving: dict[str, Any], largest: int, *, batcher: bool) -> None:
    config = parsed(samples.recommendation(**recommendation), Serving(**serving))
    assert config.max_batch_size == largest
    assert config.HasField("dynamic_batching") is batcher


def test_with_batching_turned_off_the_models_batch_axis_is_spelled_out() -> None:
    config = parsed(samples.recommendation(), Serving(max_batch_size=0))
    assert list(config.input[0].dims) == [-1, 64]
    assert list(config.output[0].dims) == [-1, 1]


def test_a_tensor_without_axes_is_reshaped() -> None:
    signature = Signature(
        inputs=(Tensor(name="x", data_type="FP32", dims=()),), outputs=(Tensor(name="y", data_type="INT64", dims=()),)
    )
    config = parsed(samples.recommendation(signature=signature))
    assert (list(config.input[0].dims), list(config.input[0].reshape.shape)) == ([1], [])
    assert config.output[0].HasField("reshape")


@pytest.mark.parametrize(("level", "written"), [("basic", -1), ("extended", 1), ("all", 0)])
def test_graph_levels_are_tritons(level: str, written: int) -> None:
    config = parsed(samples.recommendation(graph_level=level))
    assert config.optimization.graph.level == written
    assert config.HasField("optimization") is (written != 0)


def test_openvino_has_its_own_words_for_threads() -> None:
    config = parsed(samples.recommendation(backend="openvino", files=("model.xml", "model.bin"), intra_op_threads=4))
    assert (config.backend, config.default_model_filename) == ("openvino", "model.xml")
    assert parameters(config) == {"INFERENCE_NUM_THREADS": "4", "NUM_STREAMS": "1"}


@given(st.text(min_size=1))
def test_any_tensor_name_comes_back_as_it_was(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    signature = Signature(
        inputs=(Tensor(name=name, data_type="STRING", dims=(1,)),),
        outputs=(Tensor(name=name, data_type="FP32", dims=(1,)),),
    )
    config = parsed(samples.recommendation(signature=signature))
    assert (config.input[0].name, config.output[0].name) == (name, name)
    assert len(config.input) == len(config.output) == 1


@pytest.mark.parametrize(
    "file", ["../model.onnx", "/etc/passwd", "a/../b", "", "a//b", ".hidden", 'x" backend: "python']
)
def test_a_recommendation_that_points_outside_is_refused(file: str) -> None:
    with pytest.raises(InputError, match="no relative path"):
        parsed(samples.recommendation(files=(file,)))


def test_a_recommendation_with_a_made_up_data_type_is_refused() -> None:
    tensor = Tensor(name="x", data_type='FP32 dims: [ 1 ] } ] backend: "python"', dims=(1,))
    with pytest.raises(InputError, match="no data type"):
        parsed(samples.recommendation(signature=Signature(inputs=(tensor,), outputs=())))
