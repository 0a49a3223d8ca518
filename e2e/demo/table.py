"""The closing table: before and after, read from the resources' status and from nowhere else."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from e2e.scenarios.kube import Obj

_HEAD: Final = ("model", "size", "latency p50", "latency p99", "CPU a request", "quality", "speed-up", "by")
ARROW: Final = " → "


def render(models: Iterable[Obj]) -> str:
    """The table as text, one line a model."""
    rows = [_HEAD, *(row(model) for model in models)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def row(model: Obj) -> Sequence[str]:
    """The cells of one model."""
    found: dict[str, Any] = model.get("status", {}).get("optimization") or {}
    name = model["metadata"]["name"]
    before, after = found.get("before"), found.get("after")
    if not before or not after:
        return (name, *["-"] * (len(_HEAD) - 2), found.get("outcome", "not optimized"))
    return (
        name,
        _size(before["sizeBytes"]) + ARROW + _size(after["sizeBytes"]),
        _time(before["latencyP50"]) + ARROW + _time(after["latencyP50"]),
        _time(before["latencyP99"]) + ARROW + _time(after["latencyP99"]),
        _time(before["cpu"]) + ARROW + _time(after["cpu"]),
        _quality(found.get("quality")),
        _speedup(found),
        ", ".join(found.get("techniques") or ()) or found.get("winner") or found.get("outcome", ""),
    )


def _speedup(found: dict[str, Any]) -> str:
    text = f"{found['speedup']:.2f}x"
    if found.get("speedupRange"):
        text += f" ({found['speedupRange']})"
    return text if found.get("reliable", True) else f"{text} noisy"


def _quality(quality: dict[str, Any] | None) -> str:
    if not quality:
        return "the same answers"
    values = f"{quality['metric']} {quality['baseline']:.4f}{ARROW}{quality['optimized']:.4f}"
    return f"{values} (proved above {quality['lower']:+.2%})" if quality["verdict"] == "Pass" else values


def _size(count: float) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e4 else f"{count / 1e3:.1f} kB"


def _time(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 1000 else f"{microseconds:.0f} µs"
