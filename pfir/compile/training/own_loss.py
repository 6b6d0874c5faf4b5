"""A loss of the user's from a file, held against the model and the engine before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec
from pfir.errors import TrainingError, UsageError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.session import TrainSession

_WEIGHT = "weight"


def open_loss(path: str | Path, model: Model, engine: str = AUTO_ENGINE) -> Model:
    """The loss in an ONNX file, as `DistillationSettings.own` takes it.

    Args:
        path: Trusted as little as a model's.
        model: What is to be trained; not changed. Every size of its outputs but that of the batch is known.
        engine: What differentiates.

    Raises:
        FrontendError: The file cannot be read or used.
        UsageError: It does not fit the model's outputs, gives no scalar, or has an operator without a gradient.
    """
    loss, outputs = load(path), _stand_in(model.outputs(), model.graph.opset)
    try:
        graph = attach_teacher(outputs, outputs, DistillationSettings(own=loss))
        shapes = {t.name: tuple(t.shape[1:]) for t in graph.model.graph.inputs}
        TrainSession(replace(graph, trainable=(_WEIGHT,)), shapes, batch=2, engine=engine).close()
    except TrainingError as error:
        raise UsageError(f"{path}: nothing can be learnt by this loss: {error}") from error
    return loss


def _stand_in(outputs: Sequence[TensorSpec], opset: int) -> Model:
    """A model of these outputs, each of them an input times a weight: small, and all that a loss can see."""
    graph, weight = gs.Graph(opset=opset), gs.Constant(_WEIGHT, np.ones(1, np.float32))
    for spec in outputs:
        shape = ["N", *spec.shape[1:]]
        taken = gs.Variable(f"{spec.name}_given", np.dtype(spec.dtype), shape)
        made = gs.Variable(spec.name, np.dtype(spec.dtype), list(shape))
        op, inputs = ("Mul", [taken, weight]) if spec.dtype == "float32" else ("Identity", [taken])
        graph.nodes.append(gs.Node(op, f"{spec.name}_node", {}, inputs, [made]))
        graph.inputs.append(taken)
        graph.outputs.append(made)
    return Model(graph, "outputs")
