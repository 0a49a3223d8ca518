"""An image classifier: a small residual convolutional network on scikit-learn's handwritten digits.

The 8x8 scans are enlarged to 32x32 and shifted, turned and scaled at random, so that there is something to learn.
Training and held-back rows come from different scans. Distorted copies of one scan are not independent: they are one
group, so that a bound on accuracy is proved on scans and not on copies.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx

from e2e.demo.models.graph import FLOAT, Graph
from e2e.demo.models.learning import Adam, Array, Conv, Weights, he, softmax
from e2e.demo.models.trained import GROUPS, LABELS, Trained

# Neither ships types.
_ndimage: Any = importlib.import_module("scipy.ndimage")
_datasets: Any = importlib.import_module("sklearn.datasets")

SIDE: Final = 32
CLASSES: Final = 10
HELD_BACK: Final = 600
"""Scans that training never sees."""
RATE: Final = 3e-3
"""Highest learning rate: reached in the second epoch, falling to 0."""


@dataclass(frozen=True)
class Scale:
    """How large everything is: channels of the three stages, passes over the data, distorted copies of a scan."""

    channels: tuple[int, int, int] = (32, 64, 128)
    epochs: int = 20
    copies: int = 4
    batch: int = 32


SMALL: Final = Scale((8, 16, 32), 6, 1, 16)
"""For tests."""

# Name, stride, input and output stage of each convolution; `block` convolutions form the residual.
_STEM, _DOWN, _BLOCK_1, _BLOCK_2, _TOP = (
    Conv("stem", 2),
    Conv("down", 2),
    Conv("block.0"),
    Conv("block.1"),
    Conv("top", 2),
)


def train(scale: Scale = Scale(), seed: int = 7) -> Trained:
    """Distort, learn, export."""
    random = np.random.default_rng(seed)
    images, labels = _scans()
    order = random.permutation(len(images))
    seen, unseen = order[HELD_BACK:], order[:HELD_BACK]
    weights = initial(scale, random)
    adam = Adam(decay=1e-2)
    for epoch in range(scale.epochs):
        adam.rate = RATE * min(1.0, (epoch + 1) / 2) * (1 - epoch / scale.epochs)
        _epoch(distorted(images[seen], random), labels[seen], weights, adam, scale.batch)
    rows = np.concatenate([distorted(images[unseen], random) for _ in range(scale.copies)])
    truth = np.tile(labels[unseen], scale.copies)
    found = np.argmax(np.concatenate([forward(part, weights)[-1] for part in np.array_split(rows, 16)]), axis=1)
    calibration = _channels_first(distorted(images[seen], random))[:512]
    return Trained(
        _export(weights, scale),
        {"image": calibration},
        {"image": _channels_first(rows), LABELS: truth, GROUPS: np.tile(np.arange(len(unseen)), scale.copies)},
        {"accuracy": float((found == truth).mean())},
    )


def distorted(images: Array, random: np.random.Generator) -> Array:
    """Each image turned by up to 10 degrees, scaled by up to 8 % and shifted by up to 2 pixels."""
    made = np.empty_like(images)
    for position, image in enumerate(images):
        angle, size = np.deg2rad(random.uniform(-10, 10)), random.uniform(0.92, 1.08)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / size
        center = np.array([SIDE / 2, SIDE / 2])
        offset = center - turn @ (center + random.uniform(-2, 2, 2))
        made[position, ..., 0] = _ndimage.affine_transform(image[..., 0], turn, offset, order=1)
    return made


def _scans() -> tuple[Array, Array]:
    """All scans as ``(rows, 32, 32, 1)`` in 0..1, and their digits."""
    bunch = _datasets.load_digits()
    images = _ndimage.zoom(bunch.images / 16.0, (1, SIDE // 8, SIDE // 8), order=1)
    return np.clip(images, 0, 1).astype(np.float32)[..., None], bunch.target.astype(np.int64)


def _channels_first(images: Array) -> Array:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def initial(scale: Scale, random: np.random.Generator) -> Weights:
    """Weights before learning."""
    first, second, third = scale.channels
    weights: Weights = {}
    for layer, inputs, outputs in (
        (_STEM, 1, first),
        (_DOWN, first, second),
        (_BLOCK_1, second, second),
        (_BLOCK_2, second, second),
        (_TOP, second, third),
    ):
        weights[f"{layer.name}.weight"] = he(random, outputs, inputs * 9)
        weights[f"{layer.name}.bias"] = np.zeros(outputs, dtype=np.float32)
    weights["block.1.weight"] *= 0.1  # a residual branch that starts small keeps the start calm
    weights["head.weight"] = 0.3 * he(random, CLASSES, third)
    weights["head.bias"] = np.zeros(CLASSES, dtype=np.float32)
    return weights


def forward(images: Array, weights: Weights) -> list[Array]:
    """Everything that going backward needs, in order; last the scores of the classes."""
    kept: list[Array] = []

    def conv(layer: Conv, values: Array, skip: Array | None = None) -> Array:
        product, patches = layer.forward(values, weights)
        result = np.maximum(product if skip is None else product + skip, 0.0)
        kept.extend((values, patches, result))
        return result

    trunk = conv(_DOWN, conv(_STEM, images))
    top = conv(_TOP, conv(_BLOCK_2, conv(_BLOCK_1, trunk), skip=trunk))
    pooled = top.mean(axis=(1, 2))
    return [*kept, pooled, pooled @ weights["head.weight"].T + weights["head.bias"]]


def _epoch(images: Array, labels: Array, weights: Weights, adam: Adam, batch: int) -> None:
    for start in range(0, len(images) - batch + 1, batch):
        part = slice(start, start + batch)
        kept = forward(images[part], weights)
        adam.update(weights, gradients(kept, labels[part], weights))


def gradients(kept: list[Array], labels: Array, weights: Weights) -> Weights:
    """Gradients of the mean cross-entropy, from what `forward` kept."""
    pooled, scores = kept[-2:]
    error = softmax(scores)
    error[np.arange(len(labels)), labels] -= 1.0
    error /= len(labels)
    made: Weights = {"head.weight": error.T @ pooled, "head.bias": error.sum(axis=0)}
    height, width = kept[14].shape[1:3]
    spread = (error @ weights["head.weight"]) / (height * width)
    error = np.broadcast_to(spread[:, None, None, :], kept[14].shape)
    skipped: Array | None = None
    for position, layer in reversed(list(enumerate((_STEM, _DOWN, _BLOCK_1, _BLOCK_2, _TOP)))):
        values, patches, result = kept[3 * position : 3 * position + 3]
        error = error * (result > 0)
        if layer is _BLOCK_2:
            skipped = error
        error, found = layer.backward(error, patches, values.shape, weights)
        made |= found
        if layer is _BLOCK_1 and skipped is not None:
            error = error + skipped
    return made


def _export(weights: Weights, scale: Scale) -> onnx.ModelProto:
    graph = Graph("digits")

    def conv(layer: Conv, source: str) -> str:
        weight = weights[f"{layer.name}.weight"]
        parts = (
            graph.weight(f"{layer.name}.weight", weight.reshape(len(weight), -1, 3, 3)),
            graph.weight(f"{layer.name}.bias", weights[f"{layer.name}.bias"]),
        )
        strides = [layer.stride, layer.stride]
        return graph.node("Conv", source, *parts, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=strides)

    image = graph.input("image", FLOAT, [1, SIDE, SIDE])
    trunk = graph.node("Relu", conv(_DOWN, graph.node("Relu", conv(_STEM, image))))
    branch = conv(_BLOCK_2, graph.node("Relu", conv(_BLOCK_1, trunk)))
    top = graph.node("Relu", conv(_TOP, graph.node("Relu", graph.node("Add", branch, trunk))))
    pooled = graph.node("Flatten", graph.node("GlobalAveragePool", top), axis=1)
    scores = graph.linear(pooled, "head", weights["head.weight"], weights["head.bias"])
    graph.output("probabilities", graph.node("Softmax", scores, axis=1), FLOAT, [CLASSES])
    return graph.build({"task": f"which digit, from a {SIDE}x{SIDE} scan; channels {scale.channels}"})
