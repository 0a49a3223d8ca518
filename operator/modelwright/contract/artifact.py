"""The artifact: what an optimize Job leaves in the store and a pod fetches by digest.

An artifact is an OCI manifest. Its digest names it. Its config blob is a `Recommendation`; its layers are files,
each titled with its path (``org.opencontainers.image.title``):

* ``model/…``     the weights in the backend's own layout (``model/model.onnx``; ``model/model.xml`` and ``.bin``)
* ``golden.json`` a `Golden` pair, replayed by the start-up probe
* ``report.json`` the report

In a registry, an artifact of namespace ``NS`` lives in the repository ``<store>/NS``; the tag ``key-<hex>`` names the
artifact of an optimization key, and ``journal-<hex>`` the journal of an unfinished one. Each artifact also has a tag
``artifact-<hex>`` of its own digest, so that no clean-up of untagged manifests removes one that a revision serves. A
store on disk is an OCI image layout with the same bytes.
"""

from typing import Any, Literal

from pydantic import Field

from modelwright.contract.base import Message

ARTIFACT_TYPE = "application/vnd.modelwright.artifact.v1"
CONFIG_MEDIA_TYPE = "application/vnd.modelwright.recommendation.v1+json"
FILE_MEDIA_TYPE = "application/vnd.modelwright.file.v1"
TITLE = "org.opencontainers.image.title"

Backend = Literal["onnxruntime", "openvino"]


class Tensor(Message):
    """An input or output of the model as Triton's config.pbtxt names it.

    `dims` leaves the batch axis out if the model has one; -1 is a dynamic size.
    `data_type` is Triton's word without the ``TYPE_`` prefix (``FP32``, ``INT64``, ``STRING``, …).
    """

    name: str
    data_type: str
    dims: tuple[int, ...]


class Signature(Message):
    """Inputs and outputs of the model."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Recommendation(Message):
    """How the artifact should be served, as measured by the Job.

    Attributes:
        backend: Triton backend that won.
        files: Paths below ``model/``; the first is the one the backend opens.
        signature: Inputs and outputs.
        batching: Whether the first axis is a batch axis. False renders ``max_batch_size: 0``.
        max_batch_size: Largest batch that still pays.
        preferred_batch_sizes: For the dynamic batcher; empty lets Triton choose.
        max_queue_delay_microseconds: For the dynamic batcher.
        instance_count: Model instances a pod.
        intra_op_threads: Threads of one inference.
        graph_level: ONNX Runtime's graph optimization level.
        load_seconds: Measured time to load the model, from which probes are sized.
        memory_bytes: Measured resident memory of one loaded instance.
        isa: CPU features the measurement relied on (``avx512_vnni``); empty for portable artifacts.
    """

    backend: Backend
    files: tuple[str, ...]
    signature: Signature
    batching: bool
    max_batch_size: int = Field(ge=0)
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_microseconds: int = 0
    instance_count: int = 1
    intra_op_threads: int = 1
    graph_level: Literal["basic", "extended", "all"] = "all"
    load_seconds: float = 0.0
    memory_bytes: int = 0
    isa: tuple[str, ...] = ()


class Golden(Message):
    """One inference and its answer.

    Attributes:
        request: Body of ``POST /v2/models/<name>/infer`` (KServe v2 JSON).
        outputs: Output name to the flat list of expected values.
        atol: Absolute tolerance of a numeric output that `tolerances` does not name.
        rtol: Relative tolerance of a numeric output.
        tolerances: Absolute tolerance by output; 0 (labels, text) asks for the very values, whatever `rtol` says.
    """

    request: dict[str, Any]
    outputs: dict[str, list[Any]]
    atol: float = 1e-3
    rtol: float = 1e-3
    tolerances: dict[str, float] = Field(default_factory=dict[str, float])
