"""What the documents show is what happens: their code runs, and does what the text beside it says."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from pfir import passes
from pfir.errors import UsageError
from pfir.passes import spec
from pfir.passes.base import Change, Context, Pass
from tests.support.net import parsed, random
from tests.support.runs import ops

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"))
TEXT = (ROOT / "docs" / "writing-a-pass.md").read_text()
PASS, USE, TESTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def written():
    """What the document's pass defines, as a module: a dataclass looks up its annotations there."""
    module = types.ModuleType("factorize_products")
    sys.modules[module.__name__] = module
    exec(compile(PASS, "writing-a-pass.md", "exec"), vars(module))
    yield vars(module)
    del sys.modules[module.__name__]


def perceptron():
    """Two products with a Relu between; the second is too small to pay."""
    body = "h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)"
    return parsed(f"net (float[N,12] x) => (float[N,1] y) {{ {body} }}", w=random(12, 8), v=random(8, 1))


def test_the_use_that_the_document_shows_holds_on_a_model(written, capsys):
    exec(compile(USE, "writing-a-pass.md", "exec"), {**written, "model": perceptron()})
    assert capsys.readouterr().out == "factorize-products: two products each for MatMul_0\n"


def test_the_tests_that_the_document_shows_pass(written):
    names = {**written, "model": perceptron()}
    for code in (USE, TESTS):
        exec(compile(code, "writing-a-pass.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_documents_pass_leaves_the_given_arrays_alone(written):
    model, before = perceptron(), perceptron()
    clone = model.clone()
    assert written["FactorizeProducts"](rank=0.25).apply(clone, Context()).changed
    assert ops(clone) == ["MatMul", "MatMul", "Relu", "MatMul"]
    for name, tensor in before.initializers().items():
        np.testing.assert_array_equal(model.initializers()[name].values, tensor.values)


def test_all_of_the_rank_changes_nothing(written):
    assert written["FactorizeProducts"](rank=1).apply(perceptron(), Context()) == Change(False)


def test_the_documents_pass_refuses_what_it_says(written):
    with pytest.raises(UsageError, match=r"rank is 2; it must be in \(0, 1\]"):
        written["FactorizeProducts"](rank=2)


def test_the_commands_of_the_document_are_read_once_the_pass_is_in_the_table(written, monkeypatch):
    monkeypatch.setattr(spec, "PASSES", (*passes.PASSES, written["FactorizeProducts"]))
    texts = re.findall(r'--passes "([^"]+)"', TEXT)
    assert len(texts) == 4
    for text in texts:
        assert len(spec.parse(text)) == text.count(",") + 1


def test_the_passes_that_the_document_names_are_passes_with_those_fields():
    texts = re.findall(r"`([a-z-]+\{[^}`]*\})`", TEXT)
    assert len(texts) >= 4
    for text in texts:
        assert text.startswith("factorize-products") or spec.parse(text)


def test_what_the_document_says_of_context_is_what_context_has():
    table = TEXT.split("in the `Context`:")[1].split("\n\n")[1]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert set(re.findall(r"`(\w+)", " ".join(rows))) == set(Context.__dataclass_fields__)


def test_passes_have_the_methods_that_the_document_names():
    assert {"apply", "space", "settled"} <= set(vars(Pass))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:pfir|tests)(?:\.\w+){2,})`", TEXT))))
def test_what_the_document_names_is_there(name):
    room, _, thing = name.rpartition(".")
    assert hasattr(importlib.import_module(room), thing)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_a_page_links_to_and_the_files_that_it_names_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#:]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        assert (page.parent / "".join(link.split())).exists(), link
    for name in re.findall(r"`((?:pfir|tests|benchmarks|docs)/[\w/.]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_no_line_of_a_page_is_longer_than_a_line_of_code(page):
    lines = page.read_text().splitlines()
    assert not [line for line in lines if len(line) > 120 and not re.search(r"python3 -m venv", line)]


@pytest.mark.parametrize(
    ("script", "page"), [("generate_files", "files.md"), ("generate_decisions", "decisions/README.md")]
)
def test_a_page_that_is_made_is_up_to_date(script, page):
    found = importlib.util.spec_from_file_location(script, ROOT / "docs" / f"{script}.py")
    made = importlib.util.module_from_spec(found)
    found.loader.exec_module(made)
    assert (ROOT / "docs" / page).read_text() == made.text(), f"run `python docs/{script}.py`"
