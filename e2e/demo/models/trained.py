"""What training leaves behind: a folder with the model, its data and a few facts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[Any]

MODEL, CALIBRATION, EVALUATION, FACTS = "model.onnx", "calibration.npz", "evaluation.npz", "facts.json"
LABELS, GROUPS = "labels", "groups"
INLINE_LIMIT = 32 * 1024**2
"""Bytes above which weights lie beside the graph, as exporters do with larger models."""


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        model: The graph with its weights.
        calibration: One array an input, without labels.
        evaluation: One array an input, and ``labels`` and ``groups`` where the metric needs them.
        facts: What training found out, such as the quality on held-back rows.
    """

    model: onnx.ModelProto
    calibration: Mapping[str, Array]
    evaluation: Mapping[str, Array]
    facts: Mapping[str, float]

    def save(self, folder: Path) -> None:
        """Write everything below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / CALIBRATION, allow_pickle=False, **dict(self.calibration))
        np.savez(folder / EVALUATION, allow_pickle=False, **dict(self.evaluation))
        (folder / FACTS).write_text(json.dumps(dict(self.facts), indent=1))
        beside = self.model.ByteSize() > INLINE_LIMIT
        onnx.save_model(  # pyright: ignore[reportUnknownMemberType]
            self.model, str(folder / MODEL), save_as_external_data=beside, location=f"{MODEL}.data", size_threshold=1024
        )


def model_files(folder: Path) -> list[Path]:
    """The files that are the model: the graph, and its weights if they lie beside it."""
    return sorted(folder.glob(f"{MODEL}*"))


def feeds(folder: Path, rows: int) -> dict[str, Array]:
    """The first `rows` evaluation rows as the model's inputs."""
    with np.load(folder / EVALUATION, allow_pickle=False) as file:
        return {name: file[name][:rows] for name in file.files if name not in (LABELS, GROUPS)}
