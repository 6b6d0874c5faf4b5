"""Few samples expanded by blending them, and a teacher whose answers are refined by what a student learnt."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_graphsurgeon as gs

from pfir.data.base import Dataset
from pfir.errors import TrainingError
from pfir.ir.copying import copy_graph
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import logits_of

STEP = 0.3
"""How far answers move towards the student's: the size of one step against the gradient of their divergence."""
PREFIX = "pfir_student_"


class Expanded(Dataset):
    """As many samples as there are, from the first turn on blended: a share of at most a half comes from another one.

    Labels are left out, since a blend has two; a teacher answers for it.

    Args:
        data: Samples whose inputs are floats.
        seed: Of the blends.

    Source: Luo and Wu, "Neural Network Pruning with Residual-Connections and Limited-Data", CVPR 2020,
    arXiv:1911.08114, section 3.2 (expanding a small data set); Zhang et al., "mixup", ICLR 2018, for the blends.
    """

    labels = None

    def __init__(self, data: Dataset, seed: int = 0, turn: int = 0) -> None:
        self._data, self._seed, self._turn = data, seed, turn
        self.inputs, self.kind, self.notes = data.inputs, data.kind, data.notes

    def __len__(self) -> int:
        return len(self._data)

    def anew(self, turn: int) -> Dataset:
        return Expanded(self._data, self._seed, turn)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        arrays = self._data.batch(indices)
        if not self._turn:
            return arrays
        rng = np.random.default_rng([self._seed, self._turn])
        others, shares = rng.permutation(len(self))[indices], rng.uniform(0, 0.5, len(self))[indices]
        return {n: _blended(x, y, shares) for (n, x), y in zip(arrays.items(), self._others(others), strict=True)}

    def fingerprint(self) -> str:
        text = f"{self._data.fingerprint()} expanded by {self._seed}, {self._turn}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _others(self, indices: np.ndarray) -> list[np.ndarray]:
        return list(self._data.batch(indices).values())


def refined(teacher: Model, student: Model) -> Model:
    """A teacher whose logits t became t - STEP * (softmax t - softmax s), where s are those of the student; its output
    has the name that it had, and is Softmax where it was.

    That is one step against the gradient of the cross-entropy of the student's distribution with the teacher's, taken
    for every input, also one that neither has seen.

    Raises:
        TrainingError: They are no classifiers.

    Source: Luo and Wu, as above, section 3.3 (label refinement); theirs keeps logits for each sample of the expanded
    set and moves them along with the training, ours moves them once, between two trainings.
    """
    model, other = teacher.clone(), Model(_renamed(student), student.name)
    given = model.graph.outputs[0]
    ours, theirs = logits_of(model), logits_of(other)
    if ours is None or theirs is None:
        raise TrainingError("answers can only be refined of classifiers, with one output [N, K]")
    graph = model.graph
    _join(graph, other.graph)
    softmax = [_node(graph, "Softmax", [t], axis=1) for t in (ours, theirs)]
    step = _node(graph, "Mul", [_node(graph, "Sub", softmax), gs.Constant(f"{PREFIX}step", np.float32([STEP]))])
    result = _node(graph, "Sub", [ours, step])
    if given is not ours:
        result = _node(graph, "Softmax", [result], axis=1)
    result.name, given.name, result.shape = given.name, f"{given.name}_given", list(ours.shape)
    graph.outputs = [result]
    model.source = None
    return model


def _blended(x: np.ndarray, y: np.ndarray, shares: np.ndarray) -> np.ndarray:
    if x.dtype.kind != "f":
        return x
    weights = shares.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
    return (1 - weights) * x + weights * y


def _renamed(student: Model) -> gs.Graph:
    """A copy of the student's graph with names of its own, but for its inputs."""
    graph = copy_graph(student.graph)
    inputs = {t.name for t in graph.inputs}
    for node in graph.nodes:
        node.name = PREFIX + node.name
    for name, tensor in graph.tensors().items():
        if name not in inputs:
            tensor.name = PREFIX + name
    return graph


def _join(graph: gs.Graph, other: gs.Graph) -> None:
    """Take all nodes of another graph that reads the same inputs."""
    inputs = {t.name: t for t in graph.inputs}
    for node in other.nodes:
        for place, tensor in enumerate(node.inputs):
            if tensor.name in inputs:
                node.inputs[place] = inputs[tensor.name]
    graph.nodes.extend(list(other.nodes))


def _node(graph: gs.Graph, op: str, inputs: list[gs.Tensor], **attrs: object) -> gs.Tensor:
    output = gs.Variable(f"{PREFIX}{op}_{len(graph.nodes)}", np.float32)
    graph.nodes.append(gs.Node(op, f"{PREFIX}node_{len(graph.nodes)}", attrs, inputs, [output]))
    return output
