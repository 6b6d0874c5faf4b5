"""Tables of the benchmarks are filled cell by cell."""

import json

import pytest

from benchmarks.cells import Cells

NAMES = ("net dense", "net pruned 0.5", "other dense", "other pruned 0.5")


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results" / "table.json"


def test_a_stopped_run_goes_on_where_it_was(results):
    Cells(results, NAMES).keep("other dense", {"accuracy": 0.5})
    cells = Cells(results, NAMES)
    assert cells.rows == {"other dense": {"accuracy": 0.5}}
    assert cells.wanted() == ["net dense", "net pruned 0.5", "other pruned 0.5"]


def test_cells_are_run_again_only_where_that_is_asked_for(results):
    Cells(results, NAMES).keep("net dense", {})
    assert Cells(results, NAMES, only=("net",)).wanted() == ["net pruned 0.5"]
    assert Cells(results, NAMES, only=("net",), again=True).wanted() == ["net dense", "net pruned 0.5"]


def test_a_cell_is_named_by_whole_words_in_any_order(results):
    assert Cells(results, NAMES, only=("0.5 other", "net dense")).wanted() == ["net dense", "other pruned 0.5"]
    assert Cells(results, NAMES, only=("othe",)).wanted() == []


def test_each_network_comes_once_and_only_with_cells_to_run(results):
    cells = Cells(results, NAMES, only=("pruned",))
    assert list(cells.by_network()) == [("net", ["net pruned 0.5"]), ("other", ["other pruned 0.5"])]
    assert list(Cells(results, NAMES, only=("nothing",)).by_network()) == []


def test_rows_stand_in_the_order_of_the_table(results):
    cells = Cells(results, NAMES)
    for name in reversed(NAMES):
        cells.keep(name, {"of": name})
    assert list(json.loads(results.read_text())) == list(NAMES)
    assert [path.name for path in results.parent.iterdir()] == [results.name]
