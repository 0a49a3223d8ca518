"""Constant folding, dead code and simple fusions, by onnxslim."""

from collections.abc import Iterable
from pathlib import Path

from modelwright.optimizer import graph
from modelwright.optimizer.tasks import GraphLevel, Step, TransformReport
from modelwright.optimizer.transforms.base import ALL_LEVELS, Context


class CleanUp:
    """The graph as a tidier exporter would have written it."""

    name = "graph-cleanup"
    lossy = False
    levels: tuple[GraphLevel, ...] = ALL_LEVELS

    def propose(self, context: Context) -> Iterable[Step]:
        """Always worth a try: it costs a second."""
        del context
        return (Step(technique=self.name),)

    def apply(self, step: Step, source: Path, target: Path, context: Context) -> TransformReport:
        """See `Transform.apply`."""
        del context
        before = graph.load(source)
        after = graph.untyped("onnxslim").slim(graph.load(source), no_shape_infer=False)
        # Shapes it leaves behind would be stale after the next surgery, which is what breaks quantization.
        del after.graph.value_info[:]
        graph.save(after, target)
        return TransformReport(technique=step.technique, nodes_changed=graph.node_changes(before, after))
