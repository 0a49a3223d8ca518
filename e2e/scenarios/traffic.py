"""Predictions as clients make them: over HTTP and gRPC, through the gateway, by host name."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e2e.scenarios.kube import Kube

Floats = NDArray[np.float32]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """Values, and the revision that gave them."""

    values: Floats
    revision: str


def gateway_address(kube: Kube) -> str:
    """Where the Gateway that the policies name listens."""
    policies = kube.list("servingpolicies.modelwright.dev")
    first = max(policies, key=lambda policy: policy["spec"].get("priority", 0))
    parent = first["spec"]["rollout"]["defaults"]["gateway"]["parentRefs"][0]
    gateway = kube.get("gateways.gateway.networking.k8s.io", parent["name"], parent["namespace"])
    port = gateway["spec"]["listeners"][0]["port"]
    return f"{gateway['status']['addresses'][0]['value']}:{port}"


def over_http(address: str, host: str, model: str, rows: Floats) -> Answer:
    """One request in KServe's v2 protocol."""
    tensor = {"name": "x", "shape": rows.shape, "datatype": "FP32", "data": rows.flatten().tolist()}
    request = urllib.request.Request(
        f"http://{address}/v2/models/{model}/infer",
        data=json.dumps({"inputs": [tensor]}).encode(),
        headers={"Host": host, "Content-Type": "application/json"},
    )
    with _direct.open(request, timeout=30) as response:
        body = json.loads(response.read())
        revision = response.headers.get("modelwright-revision", "")
    output = body["outputs"][0]
    return Answer(np.array(output["data"], dtype=np.float32).reshape(output["shape"]), revision)


def over_grpc(address: str, host: str, model: str, rows: Floats) -> Answer:
    """The same with Triton's own client."""
    import tritonclient.grpc as triton  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - slow to import

    untyped: Any = triton
    options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0)]
    client = untyped.InferenceServerClient(url=address, channel_args=options)
    try:
        tensor = untyped.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        result = client.infer(model, [tensor], client_timeout=30)
        return Answer(np.asarray(result.as_numpy("y"), dtype=np.float32), "")
    finally:
        client.close()


def patiently(ask: Callable[[], Answer], seconds: float = 20.0) -> Answer:
    """The first answer: a gateway needs a moment to learn of a new route."""
    end = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Exception:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)
