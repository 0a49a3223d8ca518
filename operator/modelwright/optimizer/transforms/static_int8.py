"""Static int8: QDQ with unsigned activations and signed weights per channel, ranges from calibration rows.

Signed activations are never proposed: on x86 they were measured 6-30 times slower. Only matrix products and
convolutions are quantized: quantizing every operator type took a transformer from 0.918 to 0.53.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import version_converter

from modelwright.optimizer import graph
from modelwright.optimizer.rows import Rows
from modelwright.optimizer.tasks import GraphLevel, Step, TransformReport
from modelwright.optimizer.transforms import calibration
from modelwright.optimizer.transforms.base import Context
from modelwright.optimizer.transforms.weights import weight_errors

OPERATORS: Final = ("MatMul", "Gemm", "Conv")
PERCENTILE: Final = 99.99
PER_CHANNEL_OPSET: Final = 13
"""QuantizeLinear has an axis from this opset on."""


class StaticInt8:
    """One variant a way to choose ranges."""

    name = "static-int8"
    lossy = True
    # Below "extended" the pairs of quantize and dequantize stay in the graph: 6-16 times slower than float.
    levels: tuple[GraphLevel, ...] = ("extended", "all")

    def propose(self, context: Context) -> Iterable[Step]:
        """Whole ranges, and ranges without the outermost values, where there are operators and rows for it."""
        if context.splits.calibration is None or not any(context.inspection.operators.get(o) for o in OPERATORS):
            return ()
        return tuple(Step(technique=self.name, params={"ranges": ranges}) for ranges in ("minmax", "percentile"))

    def apply(self, step: Step, source: Path, target: Path, context: Context) -> TransformReport:
        """See `Transform.apply`."""
        assert context.splits.calibration is not None
        before = _with_axis(graph.load(source))
        rows = Rows.load(context.splits.calibration)
        seen = calibration.observe(before, OPERATORS, rows, context.inspection.batch, target.parent)
        masked = {name for name, statistics in seen.items() if calibration.is_mask(statistics)}
        ranges = {
            name: statistics.clipped(PERCENTILE)
            if step.params["ranges"] == "percentile"
            else (statistics.low, statistics.high)
            for name, statistics in seen.items()
        }
        _quantize(before, ranges, _nodes_touching(before, masked), target)
        after = graph.load(target)
        errors = weight_errors(before, after)
        if not errors:
            return TransformReport(technique=step.technique, skipped_because="no constant weight to quantize")
        changed = graph.node_changes(before, after)
        return TransformReport(technique=step.technique, nodes_changed=changed, per_layer_error=errors)


def _with_axis(model: onnx.ModelProto) -> onnx.ModelProto:
    if graph.opset_of(model) >= PER_CHANNEL_OPSET:
        return model
    return version_converter.convert_version(model, PER_CHANNEL_OPSET)


def _nodes_touching(model: onnx.ModelProto, names: set[str]) -> list[str]:
    return [node.name for node in model.graph.node if names & {*node.input, *node.output}]


def _quantize(model: onnx.ModelProto, ranges: calibration.Ranges, excluded: list[str], target: Path) -> None:
    """Hand our ranges to ONNX Runtime's quantizer through its calibration cache."""
    quantization = graph.untyped("onnxruntime.quantization")
    internals = graph.untyped("onnxruntime.quantization.calibrate")
    data: dict[str, Any] = {
        name: tuple(np.array(end, dtype=np.float32) for end in ends) for name, ends in ranges.items()
    }
    cache = target.parent / "ranges.json"
    internals.save_tensors_data(internals.TensorsData(internals.CalibrationMethod.MinMax, data), cache)
    source = target.parent / "float.onnx"
    graph.save(model, source)
    quantization.quantize_static(
        str(source),
        str(target),
        None,
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=list(OPERATORS),
        nodes_to_exclude=excluded,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        calibration_cache_path=str(cache),
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True, "DefaultTensorType": 1},
    )
    for leftover in (source, cache, target.parent / "exposed.onnx"):
        leftover.unlink(missing_ok=True)
