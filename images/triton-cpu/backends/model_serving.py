"""What both backends of this image have in common: Triton's requests on one side, numpy on the other.

Triton hands a backend the requests of one dynamic batch together. Those that fit are run as one inference, joined along
the first axis and taken apart again; that is what makes batching pay. A request that fails gets its own error and
fails nobody else's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

Arrays = list[np.ndarray]
Run = Callable[[Mapping[str, np.ndarray], Sequence[str]], Arrays]
"""Called with arrays by input and names of outputs; returns the outputs in that order."""


class Job:
    """One request on its way to its response."""

    def __init__(self, outputs: list[str]) -> None:
        """Begin with the names of the outputs that were asked for."""
        self.outputs = outputs
        self.feeds: dict[str, np.ndarray] = {}
        self.response: Any = None

    @property
    def rows(self) -> int:
        """Length of the first axis."""
        return len(next(iter(self.feeds.values()))) if self.feeds else 0

    def succeed(self, arrays: Iterable[np.ndarray]) -> None:
        """Answer with the outputs, in the order of their names."""
        tensors = [_to_triton(name, array) for name, array in zip(self.outputs, arrays, strict=True)]
        self.response = pb_utils.InferenceResponse(output_tensors=tensors)

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        text = f"{type(error).__name__}: {error}"
        self.response = pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(text))


class Model:
    """What `config.pbtxt` says about a model.

    Attributes:
        path: The file to open.
        parameters: Strings by key.
        max_batch_size: 0 where the model has no batch axis.
        config: All of it.
    """

    def __init__(self, arguments: Mapping[str, str], config: Mapping[str, Any], default_file: str) -> None:
        """Read the arguments that Triton gives to `initialize`."""
        if arguments["model_instance_kind"] == "GPU":
            raise pb_utils.TritonModelException("this image has no GPU; write instance_group [ { kind: KIND_CPU } ]")
        name = config.get("default_model_filename") or default_file
        self.path = str(Path(arguments["model_repository"], arguments["model_version"], name))
        self.parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        self.max_batch_size = int(config.get("max_batch_size", 0))
        self.config = config
        self._inputs = {tensor["name"]: tensor for tensor in config["input"]}
        self._outputs = {tensor["name"]: tensor for tensor in config["output"]}

    def check_names(self, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Refuse a configuration that names tensors the file does not have: when it loads, not when it serves."""
        for kind, ours, theirs in (("input", self._inputs, list(inputs)), ("output", self._outputs, list(outputs))):
            unknown = sorted(set(ours) - set(theirs))
            if unknown:
                raise pb_utils.TritonModelException(
                    f"{self.path} has no {kind} {', '.join(unknown)}; it has {', '.join(theirs)}"
                )

    def answer(self, requests: Sequence[Any], run: Run) -> list[Any]:
        """Responses to the `requests` that Triton gave to `execute`, in their order."""
        jobs = [self._job(request) for request in requests]
        groups: dict[Any, list[Job]] = {}
        for job in jobs:
            if job.response is None:
                groups.setdefault(self._fit(job), []).append(job)
        for group in groups.values():
            if len(group) == 1 or not self._run_joined(group, run):
                for job in group:
                    self._run_alone(job, run)
        return [job.response for job in jobs]

    def _job(self, request: Any) -> Job:
        job = Job(list(request.requested_output_names()) or list(self._outputs))
        try:
            job.feeds = {tensor.name(): _from_triton(tensor) for tensor in request.inputs()}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's
            job.fail(error)
        return job

    def _fit(self, job: Job) -> Any:
        """Jobs with the same key can be one inference. Without a batch axis each stands alone."""
        if self.max_batch_size == 0 or {len(array) for array in job.feeds.values()} != {job.rows}:
            return id(job)
        shapes = tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(job.feeds.items()))
        return shapes, tuple(job.outputs)

    def _run_joined(self, group: Sequence[Job], run: Run) -> bool:
        """Run a group as one inference; False if that cannot be done, and then each shows whose fault it was."""
        rows = [job.rows for job in group]
        names = group[0].outputs
        feeds = {name: np.concatenate([job.feeds[name] for job in group]) for name in group[0].feeds}
        try:
            arrays = self._shaped(names, run(feeds, names), sum(rows))
        except Exception:  # noqa: BLE001 - as above
            return False
        if any(array.ndim == 0 or len(array) != sum(rows) for array in arrays):
            return False  # an output that does not follow the batch axis cannot be taken apart
        parts = [np.split(array, np.cumsum(rows)[:-1]) for array in arrays]
        for index, job in enumerate(group):
            job.succeed(part[index] for part in parts)
        return True

    def _run_alone(self, job: Job, run: Run) -> None:
        try:
            job.succeed(self._shaped(job.outputs, run(job.feeds, job.outputs), job.rows))
        except Exception as error:  # noqa: BLE001 - as above
            job.fail(error)

    def _shaped(self, names: Sequence[str], arrays: Arrays, rows: int) -> Arrays:
        """Outputs as the configuration describes them: Triton reshapes what goes in, a backend what comes out."""
        leading = [rows] if self.max_batch_size else []
        return [
            array.reshape([*leading, *map(int, self._outputs[name]["dims"])])
            if "reshape" in self._outputs[name]
            else array
            for name, array in zip(names, arrays, strict=True)
        ]


def _from_triton(tensor: Any) -> np.ndarray:
    """An array; strings come as bytes and are text in both engines."""
    array = tensor.as_numpy()
    if array.dtype == np.object_:
        return np.array([item.decode() for item in array.ravel()], dtype=np.object_).reshape(array.shape)
    return array


def _to_triton(name: str, array: np.ndarray) -> Any:
    if array.dtype == np.object_ or array.dtype.kind in "US":
        flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
        array = np.array(flat, dtype=np.object_).reshape(array.shape)
    return pb_utils.Tensor(name, np.asarray(array, order="C"))
