"""Just enough of a learning library, in NumPy: dense and convolution layers with gradients, and Adam."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Weights = dict[str, Array]


@dataclass
class Adam:
    """Adam with bias correction, updating weights in place."""

    rate: float = 1e-3
    decay: float = 0.0
    _step: int = 0
    _first: Weights = field(default_factory=dict[str, Array])
    _second: Weights = field(default_factory=dict[str, Array])

    def update(self, weights: Weights, gradients: Mapping[str, Array]) -> None:
        """One step. `decay` is decoupled weight decay."""
        self._step += 1
        correction = np.sqrt(1 - 0.999**self._step) / (1 - 0.9**self._step)
        for name, gradient in gradients.items():
            first = self._first.setdefault(name, np.zeros_like(gradient))
            second = self._second.setdefault(name, np.zeros_like(gradient))
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            weights[name] -= self.rate * (correction * first / (np.sqrt(second) + 1e-8) + self.decay * weights[name])


def he(random: np.random.Generator, outputs: int, inputs: int) -> Array:
    """Initial weights ``(outputs, inputs)`` of a layer that a ReLU follows."""
    return (random.standard_normal((outputs, inputs)) * np.sqrt(2.0 / inputs)).astype(np.float32)


def sigmoid(values: Array) -> Array:
    """The logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def softmax(scores: Array) -> Array:
    """Class probabilities by row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass
class Conv:
    """A 3x3 convolution with padding 1 over ``(rows, height, width, channels)``; weights are ``(out, in * 9)``.

    A convolution is a matrix product once every 3x3 neighbourhood is laid out as a row of `patches`.
    """

    name: str
    stride: int = 1

    def forward(self, values: Array, weights: Weights) -> tuple[Array, Array]:
        """Outputs, and the patches that `backward` wants back."""
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        windows = windows[:, :: self.stride, :: self.stride]
        shape = windows.shape[:3]
        patches = np.ascontiguousarray(windows).reshape(-1, values.shape[3] * 9)
        product = patches @ weights[f"{self.name}.weight"].T + weights[f"{self.name}.bias"]
        return product.reshape(*shape, -1), patches

    def backward(self, error: Array, patches: Array, shape: tuple[int, ...], weights: Weights) -> tuple[Array, Weights]:
        """The error of the inputs, whose shape was `shape`, and the gradients of the weights."""
        flat = error.reshape(-1, error.shape[3])
        gradients = {f"{self.name}.weight": flat.T @ patches, f"{self.name}.bias": flat.sum(axis=0)}
        spread = (flat @ weights[f"{self.name}.weight"]).reshape(*error.shape[:3], shape[3], 3, 3)
        padded = np.zeros((shape[0], shape[1] + 2, shape[2] + 2, shape[3]), dtype=error.dtype)
        rows, columns = error.shape[1] * self.stride, error.shape[2] * self.stride
        for down in range(3):
            for right in range(3):
                padded[:, down : down + rows : self.stride, right : right + columns : self.stride] += spread[
                    ..., down, right
                ]
        return padded[:, 1:-1, 1:-1], gradients
