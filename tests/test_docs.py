"""What the documents show is what happens: their code runs, and does what the text beside it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from pfir import passes
from pfir.errors import UsageError
from pfir.passes import spec
from pfir.passes.base import Context, Pass
from tests.support.calibration import outputs, samples
from tests.support.small_nets import residual

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "writing-a-pass.md").read_text()
PASS, USE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def written():
    """What the document's pass defines, as a module: a dataclass looks up its annotations there."""
    module = types.ModuleType("shorten_weights")
    sys.modules[module.__name__] = module
    exec(compile(PASS, "writing-a-pass.md", "exec"), vars(module))
    yield vars(module)
    del sys.modules[module.__name__]


def test_the_use_that_the_document_shows_holds_on_a_model(written, capsys):
    exec(compile(USE, "writing-a-pass.md", "exec"), {**written, "model": residual()})
    assert re.fullmatch(r"shorten-weights: \d of 8 weights rounded to 4 bits\n", capsys.readouterr().out)


def test_the_documents_pass_rounds_and_leaves_the_given_arrays_alone(written):
    model, before = residual(), residual()
    clone = model.clone()
    assert written["ShortenWeights"](bits=8).apply(clone, Context()).changed
    for name, tensor in before.initializers().items():
        np.testing.assert_array_equal(model.initializers()[name].values, tensor.values)
        np.testing.assert_allclose(clone.initializers()[name].values, tensor.values, rtol=2**-9)
    feeds = samples(model)
    np.testing.assert_allclose(outputs(clone, feeds), outputs(model, feeds), rtol=0.05, atol=0.05)


def test_all_bits_change_nothing(written):
    assert not written["ShortenWeights"](bits=23).apply(residual(), Context()).changed


def test_the_documents_pass_refuses_what_it_says(written):
    with pytest.raises(UsageError, match=r"bits is 24; it must be in 1..23"):
        written["ShortenWeights"](bits=24)


def test_the_command_of_the_document_is_read_once_the_pass_is_in_the_table(written, monkeypatch):
    monkeypatch.setattr(spec, "PASSES", (*passes.PASSES, written["ShortenWeights"]))
    text = re.search(r'--passes "([^"]+)"', TEXT)[1]
    assert spec.parse(text)[1] == written["ShortenWeights"](bits=4)


def test_what_the_document_says_of_context_is_what_context_has():
    told = TEXT.split("`Context`:")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)(?:\([^`]*\))?`", told)) - {"UsageError"} == set(Context.__dataclass_fields__)


def test_passes_have_the_methods_that_the_document_names():
    assert {"apply", "space"} <= set(vars(Pass))
