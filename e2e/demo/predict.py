"""Asks the served models through the gateway, over HTTP and gRPC, and compares with the source models' own answers."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from e2e.demo.models import trained
from e2e.demo.models.trained import Array
from e2e.demo.story import DemoError

ROWS: Final = 16
TOLERANCE: Final = 0.35
"""Largest difference from the source model that is still the same model, relative to how much its answers vary.

It tells a wrong model from a quantized one; how much quality was lost is for the gate, on far more rows."""

_TYPES: Final = {"float32": "FP32", "int64": "INT64"}
REVISION_HEADER: Final = "modelwright-revision"


@dataclass(frozen=True)
class Comparison:
    """One protocol's answer beside the source model's.

    Attributes:
        difference: Root mean square of the difference over that of the answers around their mean.
        same_decision: Share of rows with the same class; None where rows are no probabilities of classes.
    """

    protocol: str
    difference: float
    same_decision: float | None = None

    @property
    def close(self) -> bool:
        """Whether this can be the same model."""
        return bool(np.isfinite(self.difference)) and self.difference <= TOLERANCE

    def __str__(self) -> str:
        decided = "" if self.same_decision is None else f", same class in {self.same_decision:.0%}"
        return f"{self.protocol} differs by {self.difference:.1%}{decided}"


def source_outputs(folder: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the trained model itself answers."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(folder / trained.MODEL), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def compare(address: str, model: Mapping[str, Any], folder: Path) -> list[Comparison]:
    """Ask a model over both protocols and compare.

    Args:
        address: ``host:port`` of the gateway.
        model: The resource, from whose status names and host names are taken.
        folder: The trained model.

    Raises:
        DemoError: It does not answer.
    """
    feeds = trained.feeds(folder, rows_of(model))
    expected = source_outputs(folder, feeds)
    resolved = model["status"]["resolved"]
    name, found = resolved["modelName"], list[Comparison]()
    for protocol, ask, hosts in (("HTTP", ask_http, "hostnames"), ("gRPC", ask_grpc, "grpcHostnames")):
        try:
            answered = ask(address, resolved[hosts][0], name, feeds)
        except Exception as error:
            # Triton's clients raise errors of their own, of gevent and of gRPC; what they say is what matters.
            raise DemoError(f"{name} did not answer over {protocol} at {address}: {error}") from error
        found.append(measure(protocol, expected, answered))
    return found


def rows_of(model: Mapping[str, Any]) -> int:
    """Rows of one request: no more than the largest batch that the model is served with."""
    asked = model["spec"].get("serving", {}).get("maxBatchSize")
    measured = model["status"]["optimization"]["recommendation"].get("maxBatchSize", 0)
    return min(ROWS, (measured if asked is None else asked) or 1)


def measure(protocol: str, expected: Mapping[str, Array], answered: Mapping[str, Array]) -> Comparison:
    """Compare the first output; a missing or misshapen one differs without bound."""
    name, first = next(iter(expected.items()))
    if name not in answered or answered[name].shape != first.shape:
        return Comparison(protocol, float("inf"))
    want, got = first.astype(np.float64), answered[name].astype(np.float64)
    difference = float(np.sqrt(np.mean((got - want) ** 2))) / max(float(want.std()), 1e-12)
    if want.shape[-1] == 1 or not np.allclose(want.sum(axis=-1), 1.0, atol=1e-3):
        return Comparison(protocol, difference)
    same: Array = np.argmax(got, axis=-1) == np.argmax(want, axis=-1)
    return Comparison(protocol, difference, float(same.mean()))


def ask_http(address: str, host: str, model: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """One request with Triton's HTTP client, tensors as binary."""
    client: Any = importlib.import_module("tritonclient.http")
    connection = client.InferenceServerClient(url=address, connection_timeout=30, network_timeout=30)
    try:
        return _outputs(connection.infer(model, _inputs(client, feeds), headers={"Host": host}), _http_names)
    finally:
        connection.close()


def ask_grpc(address: str, host: str, model: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """One request with Triton's gRPC client; the host name travels as the authority."""
    client: Any = importlib.import_module("tritonclient.grpc")
    options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0)]
    connection = client.InferenceServerClient(url=address, channel_args=options)
    try:
        return _outputs(connection.infer(model, _inputs(client, feeds), client_timeout=30), _grpc_names)
    finally:
        connection.close()


def request_json(feeds: Mapping[str, Array]) -> dict[str, Any]:
    """The same request as KServe v2 JSON, for the load generator."""
    tensors = [
        {
            "name": name,
            "shape": list(values.shape),
            "datatype": _TYPES[values.dtype.name],
            "data": values.reshape(-1).tolist(),
        }
        for name, values in feeds.items()
    ]
    return {"inputs": tensors}


def _inputs(client: Any, feeds: Mapping[str, Array]) -> list[Any]:
    made: list[Any] = []
    for name, values in feeds.items():
        tensor = client.InferInput(name, list(values.shape), _TYPES[values.dtype.name])
        tensor.set_data_from_numpy(np.ascontiguousarray(values))
        made.append(tensor)
    return made


def _outputs(result: Any, names: Callable[[Any], list[str]]) -> dict[str, Array]:
    return {name: np.asarray(result.as_numpy(name)) for name in names(result)}


def _http_names(result: Any) -> list[str]:
    return [output["name"] for output in result.get_response()["outputs"]]


def _grpc_names(result: Any) -> list[str]:
    return [output.name for output in result.get_response().outputs]
