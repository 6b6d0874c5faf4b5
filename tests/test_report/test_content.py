"""report.json holds what others rely on, as strict JSON."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.measurement import MEASURED, Measurement
from pfir.report import Epoch, Trial, build, dump
from tests.test_report.sample import PROMISED, SIDE, VERIFICATION, finished


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


def test_latencies_of_two_sources_are_refused():
    run = finished()
    measured = replace(run.result, latency=Measurement(0.005, MEASURED, "a board"))
    with pytest.raises(UsageError, match="cannot be compared"):
        build(replace(run, result=measured))


def test_twins_count_as_trials_and_not_as_candidates():
    trials = (Trial(1e-3, 0.5), Trial(2e-3, 0.6, True), Trial(1e-3, 0.5))
    search = build(finished(trials=trials))["search"]
    assert (search["trials"], search["candidates"]) == (3, 2)
