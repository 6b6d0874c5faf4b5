import re
from dataclasses import replace

import pytest

from pfir.report import Trial, build
from pfir.report.search_plot import search_plot
from tests.test_report.sample import finished

NEAR = tuple(Trial(0.0048 + i * 1e-5, 0.6 + i * 1e-2, i == 9) for i in range(10))


def _places(text: str, kind: str) -> list[tuple[float, float]]:
    """Where the circles of this kind are in the wide drawing."""
    wide = text.partition('<div class="narrow">')[0]
    found = re.findall(rf'<circle class="(?:{kind})" cx="([\d.]+)" cy="([\d.]+)"', wide)
    return [(float(x), float(y)) for x, y in found]


def test_candidates_fill_the_plot_though_the_original_is_far_away():
    run = finished(trials=NEAR)
    xs = [x for x, _ in _places(search_plot(build(run)), "trial|chosen")]
    assert max(xs) - min(xs) > 300


def test_candidates_far_below_are_left_out_and_counted():
    text = search_plot(build(finished(trials=(*NEAR, Trial(0.0048, 0.01)))))
    assert len(_places(text, "trial")) == 9 and "1 far below the others are not drawn" in text
    chosen = search_plot(build(finished(trials=(*NEAR[:9], Trial(0.0048, 0.01, True)))))
    assert len(_places(chosen, "chosen")) == 1


def test_no_tick_is_above_100_percent():
    text = search_plot(build(finished(trials=tuple(replace(t, score=1.0) for t in NEAR))))
    assert max(float(share) for share in re.findall(r">([\d.]+) %</text>", text)) == 100
    assert "All candidates have the same fidelity." in text


@pytest.mark.parametrize(
    ("goals", "goal", "axis"),
    [
        ({"speedup": 2.0, "latency_s": 0.005}, "5.00 ms", "latency (ms)"),
        ({"speedup": 2.0, "size": 2.0}, "6.20 ms", "latency (ms)"),
        ({"size": 2.0}, "1.72 MB", "size (MB)"),
        ({"macs": 0.4}, "50.2 M", "multiply-accumulates (M)"),
    ],
    ids=str,
)
def test_the_goal_is_drawn_over_what_was_asked_for(goals, goal, axis):
    trials = tuple(replace(t, macs=50_000_000 + i, size_bytes=1_700_000 + i) for i, t in enumerate(NEAR))
    text = search_plot(build(finished(goals=goals, trials=trials)))
    assert f"goal: {goal}</text>" in text and f"goal: at most {goal}</span>" in text and f">{axis}</text>" in text


def test_without_a_goal_of_cost_or_without_its_figures_no_goal_is_drawn():
    for goals in ({"max_drop": 0.5}, {"size": 2.0}):
        text = search_plot(build(finished(goals=goals, trials=NEAR)))
        assert "goal:" not in text and "latency (ms)" in text


def test_the_result_stands_at_its_accuracy_beside_that_of_the_original():
    text = search_plot(build(finished(trials=NEAR)))
    assert len(_places(text, "result")) == 1 and "accuracy of the original: 93.39 %" in text
    assert "the same as delivered: accuracy 93.12 %" in text and "before fine-tuning: fidelity" in text


def test_without_labels_the_result_stands_at_its_fidelity():
    run = finished(trials=NEAR)
    text = search_plot(build(replace(run, result=replace(run.result, accuracy=None))))
    assert "the same as delivered: fidelity 97.20 %" in text and "accuracy" not in text
