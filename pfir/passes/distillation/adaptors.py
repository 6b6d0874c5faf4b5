"""Linear maps of channels beside removed blocks: trained on their own, then taken in by the convolutions there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import insert_after, is_op, producer
from pfir.ir.linear import plain_layer
from pfir.ir.model import Model

BEFORE, BEHIND = "pfir_before_", "pfir_behind_"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Adapted:
    """A model with adaptors.

    Args:
        model: With a 1x1 convolution, the identity to begin with, before or behind some convolutions.
        adaptors: Name of the adaptor's weight [C, C, 1, 1] to the weight of the convolution that it stands beside.
    """

    model: Model
    adaptors: Mapping[str, str]

    def merged(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """What was learnt, each adaptor multiplied into the convolution beside it.

        Rewrite, with adaptors A before and B behind::

            B (W (A x))  ->  (B W A) x

        Args:
            arrays: By name, the adaptors among them, and the weights of their convolutions.
        """
        found = {name: array for name, array in arrays.items() if name not in self.adaptors}
        for adaptor, weight in self.adaptors.items():
            if adaptor in arrays:
                product = "omhw,mc->ochw" if adaptor.startswith(BEFORE) else "mchw,om->ochw"
                matrix, before = arrays[adaptor][:, :, 0, 0].astype(np.float64), found[weight].astype(np.float64)
                found[weight] = np.einsum(product, before, matrix).astype(np.float32)
        return found


def with_adaptors(model: Model, original: Model) -> Adapted:
    """The model with adaptors beside the residual branches that it lacks.

    They stand behind the last convolutions of what comes before such a branch and before the first ones of what follows
    it; grouped convolutions, and those that share or compute their weights, get none.

    Args:
        model: Not changed.
        original: The same with all its branches.

    Source: Wang and Wu, "Practical Network Acceleration with Tiny Sets", CVPR 2023, arXiv:2202.07861, section 3.2.
    """
    before, behind = beside_gone_branches(model, original)
    changed = model.clone()
    nodes = {node.name: node for node in changed.nodes()}
    adaptors = {}
    for name in behind:
        if _can_take(nodes.get(name), bare=True):
            adaptors[_behind(changed, nodes[name])] = nodes[name].inputs[1].name
    for name in before:
        if _can_take(nodes.get(name)):
            adaptors[_before(changed, nodes[name])] = nodes[name].inputs[1].name
    changed.source = None
    return Adapted(changed, adaptors)


def beside_gone_branches(model: Model, original: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the original's convolutions that read what a branch was added to, and of those that made it."""
    left = {node.name for node in model.nodes()}
    before: dict[str, None] = {}
    behind: dict[str, None] = {}
    for node in original.nodes():
        if is_op(node, "Add") and any(_is_gone(producer(t), left) for t in node.inputs):
            before |= dict.fromkeys(n.name for n in _readers(node.outputs[0]))
            behind |= dict.fromkeys(n.name for t in node.inputs for n in _makers(t))
    return tuple(n for n in before if n in left), tuple(n for n in behind if n in left)


def _is_gone(node: gs.Node | None, left: set[str]) -> bool:
    """Whether this is a layer, perhaps with its normalisation behind it, that is not among what is left."""
    if node is not None and is_op(node, "BatchNormalization"):
        node = producer(node.inputs[0])
    return node is not None and plain_layer(node) is not None and node.name not in left


def _readers(tensor: gs.Tensor) -> Iterator[gs.Node]:
    """The next convolutions, with nothing between but what works on each channel by itself."""
    for node in tensor.outputs:
        if is_op(node, "Conv"):
            yield node
        elif is_op(node, "Relu", "Clip", "PRelu", "LeakyRelu", "Identity", "BatchNormalization"):
            yield from _readers(node.outputs[0])


def _makers(tensor: gs.Tensor) -> Iterator[gs.Node]:
    """The convolutions whose sum this tensor is, activation functions left out; not those of earlier sums."""
    node = producer(tensor)
    while node is not None and is_op(node, "Relu", "Clip", "Identity", "BatchNormalization"):
        node = producer(node.inputs[0])
    if node is None:
        return
    if is_op(node, "Conv"):
        yield node
    elif is_op(node, "Add"):
        for makes in filter(None, map(producer, node.inputs)):
            while is_op(makes, "BatchNormalization"):
                makes = producer(makes.inputs[0])
            if is_op(makes, "Conv"):
                yield makes


def _can_take(node: gs.Node | None, bare: bool = False) -> bool:
    """Whether a convolution of images can take in an adaptor: with `bare` behind it, where a bias would be moved."""
    if node is None or not is_op(node, "Conv") or int(node.attrs.get("group", 1)) != 1:
        return False
    weight = node.inputs[1]
    able = isinstance(weight, gs.Constant) and weight.values.ndim == 4 and weight.values.dtype == np.float32
    return able and len(weight.outputs) == 1 and not (bare and len(node.inputs) > 2)


def _behind(model: Model, node: gs.Node) -> str:
    """Put an adaptor behind a convolution; the name of its weight."""
    made, name = node.outputs[0], BEHIND + node.name
    plain = gs.Variable(f"{name}_input", made.dtype, made.shape)
    node.outputs = [plain]
    insert_after(model.graph, node, _adaptor(name, len(node.inputs[1].values), plain, made))
    return name


def _before(model: Model, node: gs.Node) -> str:
    """Put an adaptor before a convolution; the name of its weight."""
    read, name = node.inputs[0], BEFORE + node.name
    result = gs.Variable(f"{name}_output", read.dtype, read.shape)
    at = next(i for i, n in enumerate(model.graph.nodes) if n is node)
    model.graph.nodes.insert(at, _adaptor(name, node.inputs[1].values.shape[1], read, result))
    node.inputs[0] = result
    return name


def _adaptor(name: str, channels: int, read: gs.Tensor, made: gs.Tensor) -> gs.Node:
    weight = gs.Constant(name, np.eye(channels, dtype=np.float32)[:, :, None, None])
    return gs.Node("Conv", f"{name}_node", {"kernel_shape": [1, 1]}, [read, weight], [made])
