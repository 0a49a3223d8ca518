"""How far quantized weights are from the weights they came from."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

SUFFIX: Final = "_quantized"
MAX_LAYERS: Final = 200


def weight_errors(before: onnx.ModelProto, after: onnx.ModelProto) -> dict[str, float]:
    """Relative error of each quantized weight: RMS of the difference over RMS of the original.

    Args:
        before: Float model.
        after: The same model with initializers ``<name>_quantized``, ``<name>_scale`` and ``<name>_zero_point``, as
            ONNX Runtime's quantizers name them.
    """
    old = {tensor.name: tensor for tensor in before.graph.initializer}
    new = {tensor.name: tensor for tensor in after.graph.initializer}
    errors: dict[str, float] = {}
    for name, tensor in new.items():
        source = old.get(name.removesuffix(SUFFIX))
        scale, zero = (new.get(name.removesuffix(SUFFIX) + part) for part in ("_scale", "_zero_point"))
        if not name.endswith(SUFFIX) or source is None or scale is None or len(errors) >= MAX_LAYERS:
            continue
        point = numpy_helper.to_array(zero) if zero is not None else np.zeros(1)
        error = _error(
            numpy_helper.to_array(source), numpy_helper.to_array(tensor), numpy_helper.to_array(scale), point
        )
        if error is not None:
            errors[source.name] = error
    return errors


def _error(
    wanted: npt.NDArray[Any], stored: npt.NDArray[Any], scale: npt.NDArray[Any], zero: npt.NDArray[Any]
) -> float | None:
    if wanted.shape != stored.shape:
        return None
    axis = _channel_axis(stored.shape, scale.size)
    if axis is None:
        return None
    shape = [1] * stored.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    shift = zero.astype(np.float64).reshape(shape if zero.size == scale.size else [1] * stored.ndim)
    back = (stored.astype(np.float64) - shift) * scale.astype(np.float64).reshape(shape)
    rms = float(np.sqrt(np.mean(np.square(wanted.astype(np.float64)))))
    return float(np.sqrt(np.mean(np.square(back - wanted)))) / max(rms, 1e-12)


def _channel_axis(shape: tuple[int, ...], scales: int) -> int | None:
    """The axis that has one scale an entry. A matrix has it last (columns), a convolution first (filters)."""
    if scales == 1:
        return 0
    order = (*range(len(shape) - 1, -1, -1),) if len(shape) == 2 else (*range(len(shape)),)
    return next((axis for axis in order if shape[axis] == scales), None)
