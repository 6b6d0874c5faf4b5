"""A loss that a user gives as an ONNX graph, checked and put into a training graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import STANDARD_DOMAINS
from pfir.ir.model import Model
from pfir.passes.distillation.losses import PREFIX
from pfir.passes.distillation.terms import Terms

LABELS, TEACHER = "labels", "teacher_"
"""Names of a loss's inputs: of the data's labels, and before an output of the teacher."""
NAME = f"{PREFIX}_own"
_PREFIX = f"{PREFIX}_file_"


def add_own_loss(terms: Terms, outputs: Mapping[str, gs.Tensor], loss: Model) -> None:
    """Add the only output of a loss, a scalar float32 that is a mean over the samples.

    Its inputs are named as the student's outputs, `teacher_<output>`, and `labels`: int64 `[N]` for class indices, or
    float32 of an output's shape for values.

    Args:
        terms: Of the student, whose opset the loss gets.
        outputs: The student's by name.
        loss: Not changed.

    Raises:
        UsageError: An input is unknown or of another shape, the output is no scalar, no output of the student is read,
            or an operator has no gradient wherever it stands.
    """
    graph = _at_opset(loss, terms.graph.opset).graph
    _check_operators(graph, loss.name)
    result = _scalar(graph, loss.name)
    given = {taken.name: _given(terms, outputs, taken, loss.name) for taken in graph.inputs}
    if not any(taken.name in outputs for taken in graph.inputs):
        raise UsageError(f"loss {loss.name} reads no output of the model; these are {', '.join(outputs)}")
    _move(graph, {id(t): given[t.name] for t in graph.inputs}, terms.graph)
    result.name = NAME
    terms.add(result, 1.0)


def _move(graph: gs.Graph, given: Mapping[int, gs.Tensor], to: gs.Graph) -> None:
    """Put the nodes of a graph into another, under names of their own, where they read what is given.

    Args:
        given: By the id of an input's tensor.
    """
    for tensor in graph.tensors().values():
        tensor.name = f"{_PREFIX}{tensor.name}"
    nodes = list(graph.nodes)
    for number, node in enumerate(nodes):
        node.name = f"{_PREFIX}{node.name or number}"
        node.inputs = [given.get(id(t), t) for t in node.inputs]
    graph.nodes.clear()
    to.nodes.extend(nodes)


def _at_opset(loss: Model, opset: int) -> Model:
    """A copy of the loss in the student's opset."""
    copy = loss.clone()
    copy.source = None
    if copy.graph.opset == opset:
        return copy
    try:
        converted = onnx.version_converter.convert_version(copy.to_proto(), opset)
    except Exception as error:  # the converter is native and raises RuntimeError subclasses of its own
        reason = str(error).strip().splitlines()[0][:200]
        said = f"loss {loss.name} cannot be converted from opset {copy.graph.opset} to the model's {opset}: {reason}"
        raise UsageError(f"{said}; export it with opset {opset}") from error
    return Model.from_proto(converted, loss.name)


def _check_operators(graph: gs.Graph, name: str) -> None:
    for node in graph.nodes:
        if node.domain not in STANDARD_DOMAINS or any(isinstance(a, gs.Graph) for a in node.attrs.values()):
            raise UsageError(f"loss {name}: operator {node.op} ({node.name or 'unnamed'}) has no gradient")


def _scalar(graph: gs.Graph, name: str) -> gs.Variable:
    found = ", ".join(f"{t.name} {t.dtype and np.dtype(t.dtype).name} {_shown(t.shape)}" for t in graph.outputs)
    outputs = list(graph.outputs)
    if len(outputs) != 1 or outputs[0].dtype != np.float32 or outputs[0].shape is None or len(outputs[0].shape):
        raise UsageError(f"loss {name} gives {found}; one scalar is needed, float32 []")
    return outputs[0]


def _given(terms: Terms, outputs: Mapping[str, gs.Tensor], taken: gs.Variable, name: str) -> gs.Tensor:
    """What the training graph has for an input of the loss."""
    theirs = taken.name.removeprefix(TEACHER)
    if taken.name in outputs:
        found = outputs[taken.name]
    elif taken.name == LABELS:
        return _labels(terms, outputs, taken, name)
    elif taken.name.startswith(TEACHER) and theirs in outputs:
        found = _of_teacher(terms, theirs, name)
    else:
        known = [*outputs, *(f"{TEACHER}{n}" for n in outputs), LABELS]
        raise UsageError(f"loss {name} has an input {taken.name}; known are {', '.join(known)}")
    _check_shape(found.shape, taken, name, np.float32)
    return found


def _of_teacher(terms: Terms, output: str, name: str) -> gs.Tensor:
    if terms.teacher is None:
        raise UsageError(f"loss {name} has an input {TEACHER}{output}, and there is no teacher")
    return terms.teacher_input(terms.teacher.graph.tensors()[output])


def _labels(terms: Terms, outputs: Mapping[str, gs.Tensor], taken: gs.Variable, name: str) -> gs.Tensor:
    first = next(iter(outputs.values()))
    if taken.dtype == np.int64:
        _check_shape([None], taken, name, np.int64)
        return terms.class_labels(taken.shape[0] if taken.shape else None).classes
    _check_shape(first.shape, taken, name, np.float32)
    return terms.target_values(first)


def _check_shape(shape: list | None, taken: gs.Variable, name: str, dtype: type) -> None:
    wanted = taken.shape
    if taken.dtype != dtype:
        found = taken.dtype and np.dtype(taken.dtype).name
        raise UsageError(f"loss {name}: input {taken.name} is {found}; it must be {np.dtype(dtype).name}")
    if shape is None or wanted is None:
        return
    pairs = list(zip(shape, wanted, strict=False))
    known = [(a, b) for a, b in pairs if isinstance(a, int | np.integer) and isinstance(b, int | np.integer)]
    if len(shape) != len(wanted) or any(a != b for a, b in known):
        raise UsageError(f"loss {name}: input {taken.name} is {_shown(wanted)}; the model has {_shown(shape)} there")


def _shown(shape: list | tuple | None) -> str:
    return "of unknown shape" if shape is None else f"[{', '.join('N' if s is None else str(s) for s in shape)}]"
