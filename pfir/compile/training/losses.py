"""The losses of a training: as a user says, the rest chosen; a loss of the user's own is tried before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec
from pfir.compile.calibration.samples import Samples
from pfir.compile.training.options import TrainOptions
from pfir.compile.training.recipes import distillation_for
from pfir.errors import TrainingError, UsageError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.feeding.mixing import Mixing
from pfir.train.feeding.source import check_changes
from pfir.train.session import TrainSession
from pfir.train.settings import Settings

_WEIGHT = "weight"


def losses_for(samples: Samples, settings: Settings, options: TrainOptions, student: Model) -> DistillationSettings:
    """What a student learns from these samples.

    Args:
        settings: Of the training, which say whether samples are mixed and what differentiates.
        student: Not changed.

    Raises:
        FrontendError: The file of a user's own loss cannot be used.
        UsageError: Such a loss does not fit the student's outputs.
    """
    chosen = options.over(distillation_for(samples, bool(settings.mixing)))
    path = options.own_loss
    return chosen if path is None else replace(chosen, own=open_loss(path, student, settings.engine))


def check_losses(samples: Samples, options: TrainOptions, start: Model, teacher: Model, engine: str) -> None:
    """Return only if what a user says of the losses suits the samples and the models, before anything is searched.

    Raises:
        FrontendError, UsageError: As `losses_for`, or tensors are not there, or samples cannot be mixed or moved.
    """
    if not options.values:
        return
    settings = replace(options.over(Settings(engine=engine)), mixing=options.over(Mixing()))
    check_changes(attach_teacher(start, teacher, losses_for(samples, settings, options, start)), settings)


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
