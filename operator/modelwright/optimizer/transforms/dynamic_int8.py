"""Dynamic int8: weights stored as int8, activations quantized call by call. Needs no calibration, only proof."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from modelwright.optimizer import graph
from modelwright.optimizer.tasks import GraphLevel, Step, TransformReport
from modelwright.optimizer.transforms.base import ALL_LEVELS, Context
from modelwright.optimizer.transforms.weights import weight_errors

PRODUCTS: Final = ("MatMul", "Gemm")
"""Never Conv: ONNX Runtime's ConvInteger was measured 25-33 times slower than float."""


class DynamicInt8:
    """S8 weights: U8 weights lose half of what VNNI gains."""

    name = "dynamic-int8"
    lossy = True
    levels: tuple[GraphLevel, ...] = ALL_LEVELS

    def propose(self, context: Context) -> Iterable[Step]:
        """One scale a weight or one a column; tables too, where there are some."""
        operators = context.inspection.operators
        if not operators.get("MatMul", 0) + operators.get("Gemm", 0):
            return
        yield Step(technique=self.name, params={"weights": "tensor"})
        yield Step(technique=self.name, params={"weights": "channel"})
        if context.inspection.generator.index_bounds:
            yield Step(technique=self.name, params={"weights": "tensor+tables"})

    def apply(self, step: Step, source: Path, target: Path, context: Context) -> TransformReport:
        """See `Transform.apply`."""
        del context
        quantization = graph.untyped("onnxruntime.quantization")
        before = graph.load(source)
        weights = step.params["weights"]
        operators = [*PRODUCTS, "Gather"] if weights == "tensor+tables" else list(PRODUCTS)
        quantization.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=operators,
            per_channel=weights == "channel",
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1},
        )
        after = graph.load(target)
        errors = weight_errors(before, after)
        if not errors:
            return TransformReport(technique=step.technique, skipped_because="no constant weight to quantize")
        changed = graph.node_changes(before, after)
        return TransformReport(technique=step.technique, nodes_changed=changed, per_layer_error=errors)
