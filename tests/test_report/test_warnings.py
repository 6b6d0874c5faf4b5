"""What the numbers themselves demand is said."""

from dataclasses import replace

from pfir.report import Verification, build, last_line, page
from pfir.target import FLOAT16
from tests.test_report.sample import TARGET, finished


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
