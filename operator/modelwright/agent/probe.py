"""The probe inside Triton's container. Standard library only: it runs on whatever Python 3.10+ is there.

``probe.py startup`` replays the golden request beside it and compares the *values* of the answer: a Triton
can answer empty tensors with status 200 and count them as success. ``probe.py ready`` asks whether the model
is ready. Exit code 0 or 1, and one line that says what is wrong. Usage: ``probe.py startup|ready [MODEL]``.

Outputs are asked for in binary, and half-precision inputs are sent so: Triton knows no JSON for FP16 and
BF16.
"""

import http.client
import json
import math
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
PORT = 8000
TIMEOUT_SECONDS = 10.0
HEADER_LENGTH = "Inference-Header-Content-Length"
TERMINATION_LOG = Path("/dev/termination-log")

_CODES = {
    "BOOL": "?",
    "INT8": "b",
    "UINT8": "B",
    "INT16": "h",
    "UINT16": "H",
    "INT32": "i",
    "UINT32": "I",
    "INT64": "q",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


class Wrong(Exception):
    """The server does not answer as it should; the text says how."""


class Mismatch(Wrong):
    """The server answers, but not what the Job measured."""


def main(arguments: Sequence[str], folder: Path = Path(__file__).parent, port: int = PORT) -> int:
    """Run one probe.

    Args:
        arguments: ``startup`` or ``ready``, then perhaps the model's name.
        folder: Where ``golden.json`` lies.
        port: Triton's HTTP port.

    Returns:
        0 if all is well.
    """
    if not arguments or arguments[0] not in ("startup", "ready"):
        _say("usage: probe.py startup|ready [MODEL]")
        return 1
    try:
        golden = json.loads((folder / "golden.json").read_text())
        model = arguments[1] if len(arguments) > 1 else golden["model"]
        if arguments[0] == "startup":
            replay(golden, model, port)
            _note("")
        else:
            _exchange("GET", f"/v2/models/{model}/ready", port)
    except Mismatch as error:
        _note(f"GoldenMismatch: {error}")
        _say(f"GoldenMismatch: {error}")
        return 1
    except Wrong as error:
        _say(error)
        return 1
    except (OSError, http.client.HTTPException) as error:
        _say(f"no answer from Triton: {error or type(error).__name__}")
        return 1
    except (KeyError, TypeError, ValueError) as error:
        _say(f"unreadable golden.json or answer: {error!r}")
        return 1
    return 0


def replay(golden: Mapping[str, Any], model: str, port: int) -> None:
    """Send the golden request and compare the answer.

    Raises:
        Wrong: The server refused the request.
        Mismatch: Names, counts, shapes or values differ.
        OSError: Nothing answers.
    """
    head, tail = encode(golden["request"])
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    answered, body = _exchange("POST", f"/v2/models/{model}/infer", port, head + tail, headers)
    length = int(answered.get(HEADER_LENGTH, len(body)))
    outputs = decode(json.loads(body[:length]), body[length:])
    atol, rtol = float(golden.get("atol", 0.0)), float(golden.get("rtol", 0.0))
    for name, expected in golden["outputs"].items():
        if name not in outputs:
            raise Mismatch(f"output {name!r} is missing; there are {sorted(outputs)}")
        tolerance = float(golden.get("tolerances", {}).get(name, atol))
        # An output with no tolerance holds whole numbers or text: those are the same or wrong.
        is_exact = name in golden.get("tolerances", {}) and tolerance == 0
        compare(name, outputs[name], expected, tolerance, 0.0 if is_exact else rtol)


def encode(request: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """A request's JSON and the binary tensors that follow it."""
    tail = b""
    inputs: list[dict[str, Any]] = []
    for tensor in request["inputs"]:
        if tensor["datatype"] in ("FP16", "BF16"):
            data = _pack(tensor["datatype"], list(_flat(tensor["data"])))
            kept = {key: value for key, value in tensor.items() if key != "data"}
            inputs.append({**kept, "parameters": {"binary_data_size": len(data)}})
            tail += data
        else:
            inputs.append(tensor)
    parameters = {**request.get("parameters", {}), "binary_data_output": True}
    return json.dumps({**request, "inputs": inputs, "parameters": parameters}).encode(), tail


def decode(answer: Mapping[str, Any], tail: bytes) -> dict[str, list[Any]]:
    """Flat values of each output.

    Raises:
        Mismatch: Fewer values came than the shape promises.
    """
    outputs: dict[str, list[Any]] = {}
    for tensor in answer["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = list(_flat(tensor["data"]))
        else:
            values, tail = _unpack(tensor["datatype"], tail[:size]), tail[size:]
        count = math.prod(tensor["shape"])
        if len(values) != count:
            raise Mismatch(f"output {tensor['name']!r} has the shape {tensor['shape']} but {len(values)} values")
        outputs[tensor["name"]] = values
    return outputs


def compare(name: str, values: Sequence[Any], expected: Sequence[Any], atol: float, rtol: float) -> None:
    """Compare one output.

    Raises:
        Mismatch: Naming the first value that is further off than ``atol + rtol * |expected|``.
    """
    if len(values) != len(expected):
        raise Mismatch(f"output {name!r} has {len(values)} values instead of {len(expected)}")
    for index, (got, want) in enumerate(zip(values, expected)):  # noqa: B905 - equally long
        if not _near(got, want, atol, rtol):
            bound = "" if isinstance(want, str) else f" (atol {atol:g}, rtol {rtol:g})"
            raise Mismatch(f"output {name!r}[{index}] is {_shown(got)}, expected {_shown(want)}{bound}")


def _near(got: Any, want: Any, atol: float, rtol: float) -> bool:
    if got == want:
        return True
    if isinstance(got, str) or isinstance(want, str):
        return False
    return abs(got - want) <= atol + rtol * abs(want)  # false for NaN on either side


def _shown(value: Any) -> str:
    return repr(value)[:40]


def _flat(data: Any) -> Iterable[Any]:
    if isinstance(data, list):
        for item in data:  # pyright: ignore[reportUnknownVariableType] - JSON
            yield from _flat(item)
    else:
        yield data


def _pack(datatype: str, values: Sequence[float]) -> bytes:
    if datatype == "BF16":  # the upper half of a float32
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{_CODES[datatype]}", *values)


def _unpack(datatype: str, data: bytes) -> list[Any]:
    if datatype == "BYTES":
        return list(_strings(data))
    if datatype == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[i : i + 2])[0] for i in range(0, len(data) - 1, 2)]
    code = _CODES[datatype]
    return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))


def _strings(data: bytes) -> Iterable[str]:
    while data:
        (size,) = struct.unpack_from("<I", data)
        yield data[4 : 4 + size].decode(errors="replace")
        data = data[4 + size :]


def _exchange(
    method: str, path: str, port: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[dict[str, str], bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        data = response.read()
        if response.status != http.client.OK:
            raise Wrong(f"Triton answered {response.status} for {path}: {data[:300].decode(errors='replace')}")
        return dict(response.getheaders()), data
    finally:
        connection.close()


def _say(text: object) -> None:
    """What the kubelet puts into the pod's event."""
    print(text)  # noqa: T201


def _note(text: str) -> None:
    """Leave or take back the container's termination message: a failed probe has no other way into status."""
    try:
        with TERMINATION_LOG.open("r+") as log:  # never made here: outside a pod there is none
            if text or log.read(14) == "GoldenMismatch":
                log.seek(0)
                log.truncate()
                log.write(text[:1024])
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
