r"""Triton's `config.pbtxt`: what the user asks for, completed by what was measured; never a user's own text.

Warm-up samples are left out on purpose: they could only be zeros, which a valid model may refuse, and then
Triton refuses the model. The start-up probe replays the golden pair instead.
"""

import re
from collections.abc import Iterable, Sequence

from modelwright.api.conditions import Reason
from modelwright.api.model import Serving
from modelwright.contract.artifact import Recommendation, Tensor
from modelwright.errors import InputError

GRAPH_LEVELS = {"basic": -1, "extended": 1}
"""ONNX Runtime's levels as Triton counts them. All optimizations is Triton's default and is not written."""

DATA_TYPES = frozenset(
    "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 BF16 STRING".split()  # noqa: SIM905
)

_FILE = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*")
_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def render_config(model_name: str, recommendation: Recommendation, serving: Serving) -> str:
    """`config.pbtxt` of one model: the same input always gives the same text.

    Raises:
        InputError: The recommendation names a data type or a file that Triton must never be given.
    """
    _refuse_unsafe(recommendation)
    max_batch = max_batch_size(recommendation, serving)
    lines = [
        f"name: {quoted(model_name)}",
        f"backend: {quoted(recommendation.backend)}",
        f"default_model_filename: {quoted(recommendation.files[0])}",
        f"max_batch_size: {max_batch}",
        *_tensors("input", recommendation.signature.inputs, recommendation, max_batch),
        *_tensors("output", recommendation.signature.outputs, recommendation, max_batch),
        *_batching(recommendation, serving, max_batch),
        f"instance_group [ {{ count: {instance_count(recommendation, serving)} kind: KIND_CPU }} ]",
        *_threads(recommendation),
        *_graph_level(recommendation),
    ]
    return "\n".join(lines) + "\n"


def max_batch_size(recommendation: Recommendation, serving: Serving) -> int:
    """Largest batch that Triton forms: the user's, else the measured one; 0 without a batch axis."""
    if not recommendation.batching:
        return 0
    return recommendation.max_batch_size if serving.max_batch_size is None else serving.max_batch_size


def instance_count(recommendation: Recommendation, serving: Serving) -> int:
    """Copies of the model in one pod."""
    return serving.instance_group.count if serving.instance_group else recommendation.instance_count


def quoted(text: str) -> str:
    """`text` as a string of protobuf's text format; what is not printable ASCII as octal bytes of UTF-8."""
    printable = (c.translate(_ESCAPES) if " " <= c <= "~" or c in "\n\r\t" else _octal(c) for c in text)
    return '"' + "".join(printable) + '"'


def _refuse_unsafe(recommendation: Recommendation) -> None:
    """A recommendation comes out of a pod that parsed a stranger's model: it is judged like any input."""
    file = recommendation.files[0] if recommendation.files else ""
    if not _FILE.fullmatch(file):
        raise InputError(Reason.INVALID_MODEL, f"{file!r} is no relative path of a model file.")
    for tensor in (*recommendation.signature.inputs, *recommendation.signature.outputs):
        if tensor.data_type not in DATA_TYPES:
            raise InputError(Reason.INVALID_MODEL, f"{tensor.data_type!r} is no data type of Triton.")


def _octal(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode())


def _tensors(kind: str, tensors: Sequence[Tensor], recommendation: Recommendation, max_batch: int) -> list[str]:
    # With batching turned off, Triton adds no batch axis of its own, so the model's has to be spelled out.
    leading = (-1,) if recommendation.batching and max_batch == 0 else ()
    return [f"{kind} [ {{ {_tensor(tensor, (*leading, *tensor.dims))} }} ]" for tensor in tensors]


def _tensor(tensor: Tensor, dims: tuple[int, ...]) -> str:
    parts = [f"name: {quoted(tensor.name)}", f"data_type: TYPE_{tensor.data_type}"]
    if dims:
        parts.append(f"dims: [ {_numbers(dims)} ]")
    else:
        # Triton knows no tensor without an axis: it takes one of size 1 and hands the model none.
        parts.append("dims: [ 1 ] reshape { shape: [ ] }")
    return " ".join(parts)


def _batching(recommendation: Recommendation, serving: Serving, max_batch: int) -> list[str]:
    if max_batch < 1 or (max_batch == 1 and serving.dynamic_batching is None):
        return []
    if serving.dynamic_batching is None:
        sizes, delay = recommendation.preferred_batch_sizes, recommendation.max_queue_delay_microseconds
    else:
        asked = serving.dynamic_batching
        sizes, delay = asked.preferred_batch_sizes, asked.max_queue_delay_microseconds
    # Triton refuses a preferred size above the largest batch, and the two may come from different hands.
    fitting = sorted({size for size in sizes if size <= max_batch})
    parts = [f"preferred_batch_size: [ {_numbers(fitting)} ]"] if fitting else []
    if delay:
        parts.append(f"max_queue_delay_microseconds: {delay}")
    return [f"dynamic_batching {{ {' '.join(parts)} }}" if parts else "dynamic_batching { }"]


def _threads(recommendation: Recommendation) -> list[str]:
    threads = recommendation.intra_op_threads
    if recommendation.backend == "openvino":
        values = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    else:
        values = {"intra_op_thread_count": threads, "inter_op_thread_count": 1}
    return [
        f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(str(value))} }} }}"
        for key, value in values.items()
    ]


def _graph_level(recommendation: Recommendation) -> list[str]:
    level = GRAPH_LEVELS.get(recommendation.graph_level)
    return [] if level is None else [f"optimization {{ graph {{ level: {level} }} }}"]


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))
