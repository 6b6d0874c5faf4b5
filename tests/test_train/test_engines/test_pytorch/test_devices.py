"""On a GPU no operator mixes devices or waits for a number: PyTorch's `meta` device stands in for one.

A tensor there has sizes and no values. Reading one is an error, and so is computing with it and a tensor of the CPU.
"""

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'pfir[torch]'")

from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.train.canonical.batch import with_batch  # noqa: E402
from pfir.train.engines.pytorch.engine import TorchProgram  # noqa: E402
from pfir.train.engines.pytorch.graph import calls_of  # noqa: E402
from pfir.train.flat import FlatBuffer  # noqa: E402
from tests.support.net import model_of, normal  # noqa: E402
from tests.support.small_nets import after_conv, classifier, residual, separable  # noqa: E402
from tests.test_train.test_canonical.test_canonicalize import CASES  # noqa: E402

COUNT = 4
META = torch.device("meta")
MEANT = DistillationSettings(teacher_weight=1.0)


def behind(nodes, held):
    """image [N, 3, 6, 6] -> Conv to x, 4 channels -> these nodes -> y."""
    conv = helper.make_node("Conv", ["image", "weight"], ["x"], "conv", pads=[1, 1, 1, 1])
    nodes = [conv, *(helper.make_node(op, i, o, f"n{k}", **a) for k, (op, i, o, a) in enumerate(nodes))]
    return model_of(nodes, {"weight": normal(4, 3, 3, 3), **held}, {"image": ["N", 3, 6, 6]}, {"y": None})


NETS = {
    "a constant by its shape": behind(
        [("Shape", ["x"], ["n"], {}), ("ConstantOfShape", ["n"], ["c"], {}), ("Add", ["x", "c"], ["y"], {})], {}
    ),
    "a mask": behind([("Where", ["mask", "x", "low"], ["y"], {})], {"mask": normal(6, 6) > 0, "low": np.float32(-1)}),
    "counted places": behind(
        [
            ("Cast", ["places"], ["p"], {"to": 1}),
            ("Mul", ["x", "p"], ["s"], {}),
            ("Concat", ["s", "x"], ["y"], {"axis": 1}),
        ],
        {"places": np.arange(6)},
    ),
    "picked and put back": behind(
        [
            ("Gather", ["x", "i"], ["g"], {"axis": 1}),
            ("ScatterElements", ["x", "e", "u"], ["t"], {"axis": 1}),
            ("Concat", ["g", "t"], ["y"], {"axis": 1}),
        ],
        {"i": np.array([0, -1]), "e": np.full((4, 1, 6, 6), -1), "u": normal(4, 1, 6, 6)},
    ),
    "classifier": classifier(),
    "residual": residual(),
    "separable": separable(),
}
EVERY = {**{name: after_conv(**case) for name, case in CASES.items()}, **NETS}


@pytest.mark.parametrize("name", EVERY)
def test_a_step_stays_on_its_device_and_reads_nothing_back(name):
    model = EVERY[name]
    graph = attach_teacher(model, model, MEANT)
    on_meta(graph)


def test_labels_and_running_statistics_do_too():
    graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(label_weight=0.5))
    scalars = on_meta(graph)
    assert len(scalars) >= 2


def on_meta(graph):
    """The scalars of a step there, after their gradients have been taken."""
    sizes = {t.name: [COUNT, *t.shape[1:]] for t in graph.model.inputs()}
    calls = calls_of(replace(graph, model=with_batch(graph.model, sizes)))
    program = TorchProgram(calls, META)
    shard = program.shard(FlatBuffer(calls.parameters))
    kinds = {t.name: t.dtype for t in graph.model.inputs()}
    given = {name: torch.empty(size, dtype=getattr(torch, kinds[name]), device=META) for name, size in sizes.items()}
    scalars, gradients = shard.differentiated(given)
    assert all(x.device == META for x in (*scalars, *gradients) if x is not None)
    assert any(x is not None for x in gradients)
    return scalars
