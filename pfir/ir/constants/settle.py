"""Constants where every pass looks for them: initializers, read by the nodes themselves, one for each use."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pfir.ir.constants.fold import constants_to_initializers
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.edit import bypass, is_op, sweep
from pfir.ir.model import Model
from pfir.ir.onnx_io.sharing import separate_constants

_FIRST_WITH_INNER_INITIALIZERS = 4


def settle_constants(model: Model) -> None:
    """Make initializers of Constant nodes, read past each Identity, and give every reader a bias of its own.

    The function and the interface stay as they are, and so does what a pass could report: no layer is touched.
    """
    inner = model.ir_version >= _FIRST_WITH_INNER_INITIALIZERS
    for graph in every_graph(model.graph) if inner else (model.graph,):
        constants_to_initializers(graph)
        _read_directly(graph)
    separate_constants(model.graph)


def _read_directly(graph: gs.Graph) -> None:
    held = {t.name for t in graph.outputs}
    for node in graph.nodes:
        if is_op(node, "Identity") and node.inputs and isinstance(node.inputs[0], gs.Constant):
            bypass(node, held)
    sweep(graph)
