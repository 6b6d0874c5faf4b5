from dataclasses import replace

import pytest

from pfir.artifact import LinkedConstants
from pfir.measurement import MEASURED, Measurement
from pfir.report import Verification, build, last_line, page, wording
from pfir.report.record import Alone, Library
from pfir.report.weights import Files, LayerWeight, Weights
from tests.test_report.sample import finished

SPEED = "about 2.5x faster (estimate, ±25 %)"
LOST = "0.27 points of accuracy lost"


def measured():
    """The sample, as a device would have it."""
    run = finished()
    sides = [
        replace(s, latency=Measurement(s.latency.seconds, MEASURED, "a board", 0.02, 9))
        for s in (run.baseline, run.result)
    ]
    return replace(run, baseline=sides[0], result=sides[1])


def untouched(**changes):
    """The sample, nothing removed."""
    run = finished()
    return replace(run, result=run.baseline, widths=tuple(replace(w, after=w.before) for w in run.widths), **changes)


@pytest.mark.parametrize(
    ("goals", "text"),
    [
        ({"speedup": 2.5}, f"{SPEED}, {LOST}"),
        ({"latency_s": 0.005}, f"about 4.9 ms an inference, {SPEED}, {LOST}"),
        ({"size": 2.4}, f"2.49x smaller, {SPEED}, {LOST}"),
        ({"macs": 0.4}, f"37.5 % of the multiply-accumulates, {SPEED}, {LOST}"),
        ({"max_drop": 0.5}, f"{LOST}, {SPEED}"),
        ({"size": 2.4, "max_drop": 0.5}, f"2.49x smaller, {LOST}, {SPEED}"),
    ],
    ids=str,
)
def test_what_was_asked_for_comes_first(goals, text):
    report = build(finished(goals=goals))
    assert wording.headline(report) == text
    assert f"<h1>{text}</h1>" in page(report) and f"resnet56: {text}</title>" in page(report)
    assert last_line(report, "out/").startswith(text.split(",")[0].split(" (")[0].replace(LOST, "accuracy 93.39"))


def test_a_size_is_that_of_the_packed_file_where_there_is_one():
    report = build(finished(goals={"size": 4.0}, files=Files(4_000_000, 1_500_000, 1_000_000)))
    assert wording.headline(report) == f"4.00x smaller packed, {SPEED}, {LOST}"


def test_a_measured_speed_up_stays_plain():
    report = build(measured())
    assert wording.headline(report) == f"2.53x faster, {LOST}"
    assert last_line(report, "out/").startswith("2.53x faster (measured on a board), ")
    assert "estimate" not in wording.latency_row(report) and wording.latency(report["result"]) == "4.90 ms"


def test_no_text_of_an_estimate_says_more_digits_than_it_knows():
    run = finished()
    report = build(replace(run, result=replace(run.result, instructions=None)))
    for text in (page(report), last_line(report, "out/"), "".join(report["notes"])):
        assert "2.53x" not in text


def test_a_missed_goal_does_not_read_like_the_one_that_was_asked_for():
    assert wording.headline(build(finished(met=False))).startswith("about 2.53x faster (estimate, ±25 %)")


@pytest.mark.parametrize(
    ("goals", "met", "text"),
    [
        ({"latency_s": 1.0}, True, "nothing was removed: the model already meets the goal, about 12 ms an inference"),
        ({"max_drop": 0.5}, True, "nothing could be removed within 0.5 points of accuracy"),
        ({"speedup": 2.0}, False, "nothing was removed"),
    ],
    ids=str,
)
def test_a_goal_met_by_doing_nothing_says_so(goals, met, text):
    report = build(untouched(goals=goals, met=met))
    assert wording.headline(report).startswith(text) and text in last_line(report, "out/")


def test_a_verification_that_does_not_apply_is_no_failure():
    report = build(finished(verification=Verification("host", None, skipped="the library is the ONNX model")))
    assert wording.verified(report) == "verification not applicable"
    assert "FAILED" not in page(report)


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0.00124, "1.24 ms"),
        (35.04, "35.0 s"),
        (0.5, "500 ms"),
        (725.9, "12 min 5 s"),
        (3e-5, "30.0 µs"),
        (2e-8, "20.0 ns"),
        (None, "–"),
        (0, "0.00 ns"),
    ],
)
def test_durations_have_a_fitting_unit(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    "databases, text",
    [
        ((), "none of 10 kernels tuned"),
        (({"name": "shipped", "sha256": "a" * 64, "kernels": 3},), "3 of 10 kernels tuned: shipped"),
        (
            (
                {"name": "shipped", "sha256": "a" * 64, "kernels": 3},
                {"name": "mine.json", "sha256": "b" * 64, "kernels": 2},
            ),
            "5 of 10 kernels tuned: 3 shipped, 2 mine.json bbbbbbbbbbbb",
        ),
    ],
)
def test_measured_kernels_are_counted_by_database(databases, text):
    assert wording.tuned({"core": "c", "kernels": 10, "databases": databases, "choices": ""}) == text
    assert wording.tuned(None) is None


def test_sizes_and_counts_have_three_digits():
    assert (wording.size(3_438_948), wording.size(512), wording.size(None)) == ("3.44 MB", "512 B", "–")
    assert (wording.count(125_490_000), wording.count(47), wording.count(4_700)) == ("125 M", "47", "4.70 k")


def test_points_say_lost_or_gained():
    assert wording.points(0.0027) == "0.27 points of accuracy lost"
    assert wording.points(-0.001) == "0.10 points of accuracy gained"
    assert wording.points(0.00001) == "no accuracy lost"


def test_a_ratio_needs_both_sides():
    assert (wording.ratio(5, 2), wording.ratio(None, 2), wording.ratio(5, 0)) == ("2.50x", "–", "–")


def in_eight_bits(**changes):
    """The sample with most kernels in eight bits, and what each way would have given alone."""
    run = finished()
    layers = tuple(replace(x, arithmetic="float32" if i < 3 else "int8") for i, x in enumerate(run.layers))
    alone = (Alone("int8", 1.43, 3.9, 0.99, False), Alone("channels", 1.8, 1.0, None, False))
    return replace(run, layers=layers, alone=alone, **changes)


def test_what_kernels_compute_in_is_counted_those_that_are_gone_left_out():
    report = build(in_eight_bits())
    gone = sum(layer["after_s"] is None for layer in report["layers"])
    assert report["precision"] == {"int8": len(report["layers"]) - 3 - gone, "float32": 3}
    assert wording.computed_in(report) == f"{report['precision']['int8']} kernels int8, 3 float32"
    assert wording.computed_in(build(finished())) is None


def test_what_each_way_gives_alone_is_told_with_whether_that_suffices():
    report = build(in_eight_bits())
    assert wording.alone(report) == [
        "int8 alone: about 1.4x faster, 3.90x smaller, fidelity 0.990 untrained, which misses the goal",
        "channels alone: at most about 1.8x faster, which misses the goal",
    ]
    assert "3x3 convolution, int8" in page(report) and "fidelity 0.990 untrained" in page(report)


def test_eight_bits_alone_are_a_change():
    run = untouched(met=True)
    layers = tuple(replace(layer, arithmetic="int8") for layer in run.layers)
    assert wording.unchanged(build(run)) and not wording.unchanged(build(replace(run, layers=layers)))


def test_what_weights_are_kept_as_is_told_where_it_differs():
    dense, coded = LayerWeight("a", "float32", 4000, 1000, 0), LayerWeight("a", "codebook", 500, 1000, 500)
    assert wording.kept(build(finished())) is None
    assert wording.kept(build(finished(weights=Weights((dense,), (dense,))))) is None
    said = wording.kept(build(finished(weights=Weights((dense,), (coded,)))))
    assert said == "4.00 kB float32 -> 500 B codebook, 50% zeros"


def test_weights_that_are_kept_in_less_are_no_nothing():
    dense, coded = LayerWeight("a", "float32", 4000, 1000, 0), LayerWeight("a", "codebook", 500, 1000, 0)
    files, weights = Files(4000, 600, 500), Weights((dense,), (coded,))
    smaller = build(untouched(goals={"size": 8.0}, files=files, weights=weights))
    assert wording.headline(smaller) == "8.00x smaller packed, no accuracy lost"
    untold = build(untouched(goals={"size": 1.0}, files=files, weights=Weights((dense,), (dense,))))
    assert wording.headline(untold).startswith("nothing was removed")


def test_the_library_is_told_with_what_loading_it_takes():
    assert wording.library(build(finished())) is None
    plain = Library(600_000, LinkedConstants(550_000, 550_000))
    assert wording.library(build(finished(library=plain))) == "600 kB"
    compact = Library(200_000, LinkedConstants(550_000, 150_000, 1_400_000, 0.0003), host_load_s=0.002)
    report = build(finished(library=compact))
    said = wording.library(report)
    assert said == (
        "200 kB, constants of 550 kB in 150 kB, expanded in about 300 µs at load (1.40 M instructions), "
        "loaded on this machine in 2.00 ms"
    )
    assert said in page(report)
