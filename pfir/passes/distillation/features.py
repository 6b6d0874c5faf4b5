"""Which inner tensors of student and teacher are matched, and what makes their channels comparable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.distillation.losses import PREFIX
from pfir.passes.distillation.terms import Terms

AUTO_FEATURES = ("auto",)
"""Stands for the last tensor with height and width before the output of both models, where they have one."""


@dataclass(frozen=True)
class Feature:
    """A tensor of the student, and the teacher's that it is matched with.

    Args:
        ours, theirs: Their names.
        channels: Of ours and of theirs, where they differ; None where the shapes are equal.
    """

    ours: str
    theirs: str
    channels: tuple[int, int] | None = None


def features_of(student: Model, teacher: Model | None, names: tuple[str, ...]) -> list[Feature]:
    """The tensors to be matched.

    Args:
        student: Gets its shapes inferred.
        teacher: Too.
        names: Of tensors that both have, or `AUTO_FEATURES`.

    Raises:
        UsageError: There is no teacher, a model lacks a name, or two shapes differ by more than channels.
    """
    if not names:
        return []
    if teacher is None:
        raise UsageError("features are given but no teacher; a feature is matched with the teacher's")
    for model in (student, teacher):
        infer_shapes(model)
    if names == AUTO_FEATURES:
        found = last_spatial(student), last_spatial(teacher)
        pairs = [] if None in found else [found]
    else:
        pairs = [(_known(name, student, teacher), name) for name in names]
    return [_feature(str(ours), str(theirs), student, teacher) for ours, theirs in pairs]


def match_features(terms: Terms, features: list[Feature], weight: float) -> None:
    """Add the relative errors of these tensors, weighing `weight` together; narrow ones go through an adaptor."""
    tensors = terms.graph.tensors()
    terms.match([(_adapted(terms, tensors[f.ours], f), f.theirs) for f in features], weight)


def last_spatial(model: Model) -> str | None:
    """The last tensor `[N, C, H, W]` before the only output that has more than one position; None where there is none.

    Args:
        model: Its shapes have been inferred.
    """
    tensor = model.graph.outputs[0] if len(model.graph.outputs) == 1 else None
    while tensor is not None and tensor.inputs:
        if _positions(tensor) > 1:
            return str(tensor.name)
        tensor = next((t for t in tensor.inputs[0].inputs if isinstance(t, gs.Variable)), None)
    return None


def _positions(tensor: gs.Tensor) -> int:
    """Of height and width together; 0 for other than `[N, C, H, W]`, 1 where channels are last and there is but one."""
    shape = tensor.shape
    if shape is None or len(shape) != 4 or not all(isinstance(s, int | np.integer) for s in shape[1:]):
        return 0
    return 1 if shape[1] == shape[2] == 1 else int(shape[2] * shape[3])


def _known(name: str, student: Model, teacher: Model) -> str:
    if name not in student.graph.tensors() or name not in teacher.graph.tensors():
        raise UsageError(f"feature {name} is not a tensor of both student and teacher")
    return name


def _feature(ours: str, theirs: str, student: Model, teacher: Model) -> Feature:
    here, there = student.graph.tensors()[ours].shape, teacher.graph.tensors()[theirs].shape
    if here is None or there is None or list(here[1:]) == list(there[1:]):
        return Feature(ours, theirs)
    if len(here) == len(there) == 4 and list(here[2:]) == list(there[2:]):
        return Feature(ours, theirs, (int(here[1]), int(there[1])))
    raise UsageError(
        f"feature {ours} is {list(here)} in the student and {theirs} is {list(there)} in the teacher; they may differ "
        "in the channels of [N, C, H, W] alone"
    )


def _adapted(terms: Terms, tensor: gs.Tensor, feature: Feature) -> gs.Tensor:
    """The tensor, or what a learnt 1x1 convolution to the teacher's channels makes of it; it is no part of the student.

    Its weights begin at zero: at first it alone learns, and the student is not pulled towards what a random one gives.

    Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv:1412.6550, section 2.2.
    """
    if feature.channels is None:
        return tensor
    narrow, wide = feature.channels
    weight = gs.Constant(f"{PREFIX}_adaptor_{feature.ours}", np.zeros((wide, narrow, 1, 1), np.float32))
    bias = gs.Constant(f"{PREFIX}_adaptor_bias_{feature.ours}", np.zeros(wide, np.float32))
    terms.learn(weight)
    terms.learn(bias)
    shape = [tensor.shape[0], wide, *tensor.shape[2:]]
    output = gs.Variable(f"{PREFIX}_adapted_{feature.ours}", np.float32, shape)
    inputs = [tensor, weight, bias]
    terms.graph.nodes.append(gs.Node("Conv", output.name, {"kernel_shape": [1, 1]}, inputs, [output]))
    return output
