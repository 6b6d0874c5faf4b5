"""After inlining, the same outputs by the same interface; groups that a call had pinned are free."""

from __future__ import annotations

import numpy as np
from onnx import helper

from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pipeline import run as apply
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.simplification import inline_functions as module
from pfir.passes.simplification.inline_functions import InlineFunctions
from pfir.passes.simplification.simplify import Simplify
from tests.support.net import feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import build


def _inlined(model):
    return apply((InlineFunctions(),), model, Context())


def test_inlining_changes_no_output_and_no_interface():
    model = build("local_function", 0)
    plain, notes = _inlined(model)
    assert_valid(plain)
    assert not plain.header.functions and notes == ("inline-functions: functions inlined: 1",)
    assert (plain.inputs(), plain.outputs(), plain.ir_version) == (model.inputs(), model.outputs(), model.ir_version)
    for got, wanted in zip(run(plain, feeds(model)), run(model, feeds(model)), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_a_call_pinned_is_free_afterwards():
    model = build("local_function", 0)
    pins = [p.reason for g in channel_groups(model).groups for p in g.pins]
    plain, _ = _inlined(model)
    assert any("Act" in reason for reason in pins)
    assert len(channel_groups(plain).free()) == len(channel_groups(model).free()) + 1
    pruned, _ = apply((InlineFunctions(), PruneChannels(ratio=0.5)), model, Context())
    assert_valid(pruned)
    assert run(pruned, feeds(model))[0].shape == run(model, feeds(model))[0].shape


def test_a_model_without_functions_stays_as_it_is():
    model = build("chain", 0)
    plain, notes = _inlined(model)
    assert notes == () and plain.provenance == model.provenance


def test_a_function_for_another_opset_stays_and_is_named():
    proto = build("local_function", 0).to_proto()
    del proto.functions[0].opset_import[:]
    proto.functions[0].opset_import.append(helper.make_opsetid("", 12))
    plain, notes = _inlined(Model.from_proto(proto))
    assert len(plain.header.functions) == 1 and plain.provenance == ()
    assert notes == ("inline-functions: not written for the model's opset, so they stay: local.Act",)


def test_a_model_too_large_for_one_file_keeps_its_functions(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_BYTES", 1)
    plain, notes = _inlined(build("local_function", 0))
    assert len(plain.header.functions) == 1
    assert notes == ("inline-functions: the weights exceed 2 GiB, so local functions stay",)


def test_simplifying_begins_with_inlining():
    model = build("local_function", 0)
    plain, notes = apply((Simplify(),), model, Context())
    assert not plain.header.functions and notes[0] == "simplify: functions inlined: 1"
    for got, wanted in zip(run(plain, feeds(model)), run(model, feeds(model)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
