"""A pipeline clones, applies, verifies, and says which pass an error comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.errors import Infeasible, VerifyError
from pfir.passes.base import Change, Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.pipeline import run
from pfir.passes.simplification.simplify import Simplify
from tests.support.net import parsed, random
from tests.support.runs import assert_same, ops


@dataclass(frozen=True)
class Refuse(Pass):
    """Find nothing to do."""

    name: ClassVar[str] = "refuse"

    def apply(self, model, context):
        raise Infeasible("nothing may be removed")


@dataclass(frozen=True)
class Stumble(Pass):
    """Fail as a fault of ours would."""

    name: ClassVar[str] = "stumble"

    def apply(self, model, context):
        raise KeyError("weight")


@dataclass(frozen=True)
class Break(Pass):
    """Leave a node that reads what nobody writes."""

    name: ClassVar[str] = "break"

    def apply(self, model, context):
        model.graph.nodes[0].inputs[0] = gs.Variable("nowhere", np.float32, [1])
        return Change(True)


def net():
    body = "net (float[N,3] x) => (float[N,3] y) { a = Identity(x) b = MatMul(a, w) y = Add(b, bias) }"
    return parsed(body, w=random(3, 3), bias=random(3))


def test_passes_run_in_order_on_another_model():
    model = net()
    after, notes = run((Simplify(), FoldBatchNorm()), model, Context())
    assert ops(model) == ["Identity", "MatMul", "Add"]
    assert ops(after) == ["Gemm"]
    assert_same(model, after)
    assert any(n.startswith("simplify: ") for n in notes)


def test_only_passes_that_changed_something_enter_the_provenance():
    after, _ = run((Simplify(), FoldBatchNorm(), Simplify()), net(), Context())
    assert after.provenance == ("simplify",)


def test_a_model_that_nothing_changed_keeps_its_bytes():
    model = parsed("net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    model.source = b"the file"
    after, _ = run((Simplify(), FoldBatchNorm()), model, Context())
    assert after.source == b"the file"


def test_an_error_keeps_its_type_and_names_the_pass():
    with pytest.raises(Infeasible, match="pass refuse: nothing may be removed"):
        run((Simplify(), Refuse()), net(), Context())


def test_a_fault_of_ours_keeps_its_type_and_names_the_pass():
    with pytest.raises(KeyError) as caught:
        run((Stumble(),), net(), Context())
    noted = (*getattr(caught.value, "__notes__", ()), *map(str, caught.value.args))
    assert any("in pass stumble" in text for text in noted)


def test_a_pass_that_leaves_the_model_broken_is_found_out():
    with pytest.raises(VerifyError, match="pass break: "):
        run((Break(),), net(), Context())
