"""A training graph as a list of calls of PyTorch functions, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from torch import Tensor

from pfir.errors import TrainingError, lacks_memory
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch_norm import running_statistics
from pfir.train.canonical.canonicalize import at_opset, constants_to_initializers, reached_by, unique_names, untie
from pfir.train.engines.pytorch.functions.table import FUNCTIONS, READING, refusal


@dataclass(frozen=True)
class Call:
    """One node.

    Args:
        where: The node's name and operator, for messages.
        function: Takes the tensors of `inputs`.
        inputs: Names; None for an input left out.
        outputs: Names, "" for one that nobody reads.
        last: Names that no later call reads.
    """

    where: str
    function: Callable[..., Any]
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]
    last: tuple[str, ...]

    def compute(self, tensors: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """The outputs.

        Raises:
            TrainingError: PyTorch refuses.
        """
        try:
            found = self.function(*tensors)
        except (RuntimeError, ValueError, IndexError) as error:
            if lacks_memory(error):
                raise
            reason = str(error).strip().splitlines()[0][:300]
            raise TrainingError(f"node {self.where} cannot be computed by PyTorch: {reason}") from error
        return found if isinstance(found, (tuple, list)) else (found,)


@dataclass(frozen=True)
class Calls:
    """What computes a training graph.

    Args:
        calls: In order.
        parameters: What is learnt, by name.
        statistics: Running statistics that move, by name.
        constants: All other initializers, by name.
        scalars: Names of the loss and of the metrics.
    """

    calls: tuple[Call, ...]
    parameters: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    constants: dict[str, np.ndarray]
    scalars: tuple[str, ...]

    def run(self, known: Mapping[str, Tensor]) -> list[Tensor]:
        """The scalars, where these tensors are known: feeds, parameters, statistics and constants.

        Raises:
            TrainingError: PyTorch refuses to compute a node.
        """
        values = dict(known)
        for call in self.calls:
            found = call.compute([None if name is None else values[name] for name in call.inputs])
            values.update(zip(call.outputs, found, strict=False))
            for name in call.last:
                values.pop(name, None)
        return [values[name] for name in self.scalars]


def calls_of(graph: TrainingGraph) -> Calls:
    """The calls of a training graph whose inputs have fixed sizes.

    Raises:
        TrainingError: A node is not known or has no gradient, or nothing is learnt.
    """
    copy = at_opset(graph.model)
    constants_to_initializers(copy)
    unique_names(copy)
    untie(copy, graph.trainable)
    copy.graph.cleanup().toposort()
    moving = () if graph.frozen_batch_norm else tuple(running_statistics(copy.graph))
    held = {name: tensor.values for name, tensor in copy.initializers().items()}
    trainable = tuple(n for n in graph.trainable if n in held)
    _check(copy.graph, trainable, graph.model.name)
    nodes = copy.graph.nodes
    scalars = (graph.loss, *(t.name for t in copy.graph.outputs if t.name != graph.loss))
    kept = {*scalars, *held, *(t.name for t in copy.graph.inputs)}
    return Calls(
        tuple(_call(node, last, moving) for node, last in zip(nodes, _last_reads(nodes, kept), strict=True)),
        {n: np.array(held[n], np.float32, order="C") for n in trainable},
        {n: np.array(held[n], np.float32, order="C") for n in moving},
        {n: x for n, x in held.items() if n not in trainable and n not in moving},
        scalars,
    )


def _check(graph: gs.Graph, trainable: tuple[str, ...], name: str) -> None:
    learning = reached_by(graph, trainable)
    for node in graph.nodes:
        if reason := refusal(node, node.name in learning):
            raise TrainingError(f"node {node.name} ({node.op}) cannot be trained: {reason}")
    if not trainable:
        raise TrainingError(f"{name} has no weights that reach its outputs; there is nothing to train")


def _call(node: gs.Node, last: tuple[str, ...], moving: tuple[str, ...]) -> Call:
    if node.op == "BatchNormalization":
        node.attrs["training_mode"] = int(node.inputs[3].name in moving)
    names = tuple(t.name or None for t in node.inputs)
    outputs = tuple(t.name for t in node.outputs)
    function = partial(FUNCTIONS[node.op], node)
    function = function if node.op in READING else partial(_on_one_device, function)
    return Call(f"{node.name} ({node.op})", function, names, outputs, last)


def _on_one_device(function: Callable[..., Any], *tensors: Tensor | None) -> Any:
    """What the function gives; where some inputs are on a GPU, after those that are not have gone there.

    Integers and masks are constants on the CPU, and what is made of sizes is there. Single numbers may stay.
    """
    elsewhere = next((t.device for t in tensors if t is not None and t.device.type != "cpu"), None)
    if elsewhere is None:
        return function(*tensors)
    return function(*(t.to(elsewhere) if t is not None and t.dim() else t for t in tensors))


def _last_reads(nodes: Sequence[gs.Node], kept: set[str]) -> list[tuple[str, ...]]:
    """For each node the names that are not kept and that no later node reads."""
    seen, last = set(kept), []
    for node in reversed(nodes):
        names = {t.name for t in (*node.inputs, *node.outputs) if t.name} - seen
        seen |= names
        last.append(tuple(sorted(names)))
    return last[::-1]
