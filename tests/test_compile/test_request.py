from pathlib import Path

import pytest

from pfir.compile.request import (
    Goals,
    Request,
    parse_duration,
    parse_factor,
    parse_input_shapes,
    parse_points,
    parse_share,
)
from pfir.compile.training.options import parse_train
from pfir.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"), [("8ms", 0.008), ("30m", 1800), ("1.5h", 5400), ("90 s", 90), ("2us", 2e-6)]
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text, "--latency") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["8", "ms", "-3s", "1d", ""])
def test_other_durations_are_refused(text):
    with pytest.raises(UsageError, match="--latency .* not a duration"):
        parse_duration(text, "--latency")


def test_a_duration_without_unit_is_answered_with_what_it_may_have_meant():
    with pytest.raises(UsageError, match="is it 8ms, 8s or 8m"):
        parse_duration("8", "--latency")


def test_a_factor_may_end_in_x():
    assert parse_factor("2.5x", "--size") == parse_factor("2.5", "--size") == 2.5


def test_a_share_may_be_in_percent_and_points_may_have_the_sign():
    assert parse_share("50%", "--macs") == parse_share("0.5", "--macs") == parse_share(".5", "--macs") == 0.5
    assert parse_points("0.5%", "--max-drop") == parse_points("0.5", "--max-drop") == 0.5


@pytest.mark.parametrize("parse", [parse_factor, parse_share, parse_points])
@pytest.mark.parametrize(("text", "word"), [("2,5", "is it 2.5"), ("fast", "write"), ("nan", "finite")])
def test_what_is_no_number_is_refused_by_the_name_of_the_option(parse, text, word):
    with pytest.raises(UsageError, match=f"^--option {text!r}.*{word}"):
        parse(text, "--option")


def test_input_shapes_are_read_by_name():
    assert parse_input_shapes(("a=1x3x8x8", "b=c=2")) == {"a": (1, 3, 8, 8), "b=c": (2,)}


@pytest.mark.parametrize("text", ["1x3", "a=1x0", "a=", "a=1xN", "a=-1x3", "a=\u00b2", "a=1,3"])
def test_other_input_shapes_are_refused(text):
    with pytest.raises(UsageError, match="--input-shape"):
        parse_input_shapes((text,))


def test_a_shape_without_a_name_or_given_twice_is_refused():
    with pytest.raises(UsageError, match="names no input"):
        parse_input_shapes(("1x3x224x224",))
    with pytest.raises(UsageError, match="'a' twice"):
        parse_input_shapes(("a=1", "a=2"))


@pytest.mark.parametrize(
    "goals",
    [
        {"speedup": 2, "macs": 0.5, "size": 2},
        {"speedup": 1.0},
        {"speedup": float("nan")},
        {"macs": 1.0},
        {"macs": 0.0},
        {"latency_s": -1.0},
        {"size": 0.5},
        {"max_drop": -1},
    ],
)
def test_goals_out_of_range_are_refused(goals):
    with pytest.raises(UsageError):
        Goals(**goals)


def test_goals_print_as_they_are_written():
    assert Goals(speedup=2.5, max_drop=0.5).text() == "--speedup 2.5 --max-drop 0.5"


@pytest.mark.parametrize(
    "options",
    [
        {"backend": "gcc"},
        {"backend": "ort", "tuned": "none"},
        {"metric": "bleu"},
        {"engine": "jax"},
        {"metric": "accuracy"},
        {"validation": "v.npz"},
        {"batch": 0},
        {"trials": 0},
        {"jobs": 0},
        {"epochs": -1},
        {"time_budget_s": 0.0},
        {"force": True, "resume": True},
        {"retrain": True},
        {"goals": Goals(max_drop=1.0)},
        {"goals": Goals()},
        {"preprocess": "imagenet"},
        {"train": parse_train("lr=0.1"), "epochs": 0},
        {"train": parse_train("compile=always"), "engine": "ort"},
        {"train": parse_train("lr=0.1"), "recipe": Path("recipe.json")},
    ],
)
def test_contradicting_options_are_refused_before_any_work(options):
    base = {"model": Path("m.onnx"), "target": "arm", "goals": Goals(speedup=2.0), "output": Path("out")}
    with pytest.raises(UsageError):
        Request(**{**base, **options})


def test_a_recipe_needs_no_goal():
    asked = Request(Path("m.onnx"), "arm", Goals(), Path("out"), recipe=Path("recipe.json"))
    assert asked.goals.text() == "no goal"
