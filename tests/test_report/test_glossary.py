import ast
import importlib.util
from pathlib import Path

import pytest

import pfir
from pfir.report import build, page
from pfir.report.glossary import STAGES, TERMS
from tests.test_report.sample import finished

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_glossary_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_glossary", ROOT / "docs" / "generate_glossary.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (ROOT / "docs" / "glossary.md").read_text() == made.text(), "run `python docs/generate_glossary.py`"


def test_the_report_ends_with_every_word():
    text = page(build(finished()))
    glossary = text[text.index("<h2>Glossary</h2>") :]
    assert all(f"<dt>{term}</dt>" in glossary for term in TERMS)
    assert "<code>--device</code>" in glossary and "`" not in glossary


@pytest.mark.parametrize(
    ("title", "terms"),
    [
        ("Before and after", ("estimate", "fidelity", "peak activations", "instructions", "this machine")),
        ("Search", ("candidate", "trial", "fidelity", "Pareto front")),
        ("Channels of each group of layers", ("channel", "group", "branch")),
        ("Fine-tuning", ("fine-tuning", "epoch", "loss")),
        ("Where the time went", ("fit layers", "branch")),
        ("What had to stay", ("pinned",)),
    ],
)
def test_words_are_explained_under_the_figure_where_they_stand(title, terms):
    text = page(build(finished()))
    section = text[text.index(f"<h2>{title}</h2>") :].partition("</section>")[0]
    assert all(f"<b>{term}</b>: " in section for term in terms)


def test_every_stage_of_a_run_has_plain_words():
    files = [path.read_text() for path in (Path(pfir.__file__).parent / "compile").rglob("*.py")]
    names = {name for text in files for name in _stage_names(ast.parse(text))}
    assert {"load", "rank branches", "fit layers"} <= names <= STAGES.keys()


def _stage_names(tree: ast.AST) -> set[str]:
    """The names that are written out in calls such as `with stages("load")`."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.args and isinstance(n.args[0], ast.Constant)]
    called = [(getattr(c.func, "attr", getattr(c.func, "id", "")), c.args[0].value) for c in calls]
    return {value for name, value in called if name == "stages" and isinstance(value, str)}
