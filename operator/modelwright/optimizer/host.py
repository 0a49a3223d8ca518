"""The machine a run measures on: part of the report, of the journal's identity, and of what a quantized model needs."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from modelwright.contract.base import Message

MEMORY_SHARE: Final = 0.9
"""Part of the container's memory that a task may take; the Job's own process needs the rest."""

INT8_FEATURES: Final = ("amx_int8", "avx512_vnni", "avx_vnni")
"""CPU features that int8 kernels use, best first, as /proc/cpuinfo writes them."""

SHOWN_FEATURES: Final = ("avx2", "avx512f", *INT8_FEATURES, "avx512_bf16", "asimddp", "i8mm")
PACKAGES: Final = ("onnxruntime", "onnx", "numpy", "onnxslim")


class Host(Message):
    """A machine.

    Attributes:
        cpu: Model name.
        features: Of the CPU, those that matter here.
        cores: CPUs this process may use.
        memory_bytes: Memory it may use.
        versions: Of the libraries that measured.
    """

    cpu: str
    features: tuple[str, ...]
    cores: int
    memory_bytes: int
    versions: dict[str, str]

    @property
    def int8_features(self) -> tuple[str, ...]:
        """The feature ONNX Runtime's int8 kernels run on here; empty if none is special."""
        return next(((name,) for name in INT8_FEATURES if name in self.features), ())


def observe_host() -> Host:
    """This machine."""
    lines = _lines(Path("/proc/cpuinfo"))
    flags = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "").split()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return Host(
        cpu=name or platform.machine(),
        features=tuple(feature for feature in SHOWN_FEATURES if feature in flags),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory_limit(),
        versions={package: metadata.version(package) for package in PACKAGES},
    )


def memory_limit() -> int:
    """Bytes this container may use: the cgroup's limit (v2, then v1), or the machine's memory."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = "".join(_lines(Path(path))).strip()
        if text.isdecimal():
            return min(total, int(text))
    return total


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
