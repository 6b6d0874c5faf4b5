import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.measurement import MEASURED, Measurement
from pfir.report import Epoch, Trial, Verification, build, dump, last_line, page
from pfir.target import FLOAT16
from tests.test_report.sample import PROMISED, SIDE, TARGET, VERIFICATION, finished


def test_the_report_holds_what_others_rely_on():
    report = build(finished())
    assert set(report) >= PROMISED
    assert set(report["baseline"]) >= SIDE and set(report["result"]) >= SIDE
    assert set(report["search"]) >= {"trials", "candidates", "seconds"}
    assert set(report["verification"]) == VERIFICATION


def test_speedup_and_accuracy_drop_follow_from_the_sides():
    report = build(finished())
    assert report["speedup"] == pytest.approx(0.0124 / 0.0049)
    assert report["accuracy_drop"] == pytest.approx(0.0027)


def test_without_labels_accuracy_is_null():
    run = finished()
    report = build(replace(run, result=replace(run.result, accuracy=None)))
    assert report["result"]["accuracy"] is None and report["accuracy_drop"] is None


def test_the_report_survives_strict_json_with_numpy_scalars_and_nan():
    epochs = (Epoch(np.float32(1), math.nan, {"agreement": np.float64("inf")}),)
    report = build(
        finished(training=epochs, recipe={"ratios": np.array([0.5]), "trials": np.int64(3), "on": np.bool_(True)})
    )
    back = json.loads(dump(report), parse_constant=lambda text: pytest.fail(text))
    assert back == report
    unknown = dict.fromkeys(("held_back_loss", "held_back_accuracy", "held_back_fidelity"))
    assert back["training"] == [{"epoch": 1.0, "loss": None, "metrics": {"agreement": None}, **unknown}]
    assert back["recipe"] == {"ratios": [0.5], "trials": 3, "on": True}


def test_dump_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="JSON"):
        dump({"x": math.nan})


def test_ratios_that_disagree_by_more_than_a_quarter_are_said():
    run = finished()
    assert build(run)["notes"] == []
    slower = replace(run, result=replace(run.result, host_latency_s=0.006))
    (note,) = build(slower)["notes"]
    assert "disagree" in note and "1.35x measured on this machine" in note and "about 2.5x by the estimate" in note


def test_instructions_are_compared_within_one_arithmetic_only():
    run = finished()
    more = replace(run, result=replace(run.result, instructions=50_000_000))
    (note,) = build(more)["notes"]
    assert "fewer instructions" in note
    mixed = tuple(replace(layer, arithmetic="int8" if i else "float32") for i, layer in enumerate(run.layers))
    assert build(replace(more, layers=mixed))["notes"] == []


def test_low_fidelity_without_accuracy_is_said():
    run = finished()
    (note,) = build(replace(run, result=replace(run.result, accuracy=None, fidelity=0.8)))["notes"]
    assert "do not ship" in note
    assert build(replace(run, result=replace(run.result, accuracy=None, fidelity=0.95)))["notes"] == []


def test_fp16_arithmetic_is_named_with_how_often_the_answers_agree():
    assert build(finished())["arithmetic"] == "float32 arithmetic"
    target = replace(TARGET, arithmetic=FLOAT16)
    check = Verification("emulated aarch64", True, samples=16, top1_agreement=0.9375)
    report = build(finished(target=target, verification=check))
    assert report["arithmetic"] == "fp16 arithmetic; inputs and outputs float32"
    assert report["target"]["arithmetic"] == FLOAT16.name
    (note,) = report["notes"]
    assert "The floats of the result are float16" in note and "94% of 16 verified samples" in note
    assert "fp16 arithmetic; inputs and outputs float32" in last_line(report, "out/")
    assert "fp16 arithmetic; inputs and outputs float32" in page(report) and "on 16 samples" not in page(report)


def test_verification_elsewhere_is_said():
    check = Verification("host", True, not_verified_on="aarch64", reason="apt-get is missing")
    (note,) = build(finished(verification=check))["notes"]
    assert "not verified on aarch64 (apt-get is missing)" in note


def test_verification_that_is_not_applicable_is_said():
    check = Verification("host", None, skipped="not applicable: ONNX Runtime itself runs the result")
    report = build(finished(verification=check))
    assert report["notes"] == ["Verification is not applicable: ONNX Runtime itself runs the result."]
    assert report["verification"]["passed"] is None and "verification not applicable" in page(report)


def test_outputs_of_which_verification_says_nothing_are_named():
    (note,) = build(finished(verification=Verification("host", True, near_zero=("map", "box"))))["notes"]
    assert "map, box is so near zero" in note


def test_skipped_verification_is_said():
    (note,) = build(finished(verification=Verification("host", False, skipped="no linker")))["notes"]
    assert "no linker" in note


def test_latencies_of_two_sources_are_refused():
    run = finished()
    measured = replace(run.result, latency=Measurement(0.005, MEASURED, "a board"))
    with pytest.raises(UsageError, match="cannot be compared"):
        build(replace(run, result=measured))


def test_fidelity_data_is_given_or_generated():
    with pytest.raises(UsageError, match="given or generated"):
        finished(fidelity_data="guessed")


def test_twins_count_as_trials_and_not_as_candidates():
    trials = (Trial(1e-3, 0.5), Trial(2e-3, 0.6, True), Trial(1e-3, 0.5))
    search = build(finished(trials=trials))["search"]
    assert (search["trials"], search["candidates"]) == (3, 2)
