"""The plot of a search: its candidates with the goal, what was chosen, and what became of it by fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pfir.report import svg, words
from pfir.report.markup import explained, legend
from pfir.report.svg import Line, Mark

FENCE = 1.5
"""Candidates this many interquartile ranges below the lower quartile are left out (Tukey's fence)."""


def search_plot(report: Mapping) -> str:
    """Fidelity over latency, zoomed to the candidates; the result is a mark of its own, at its accuracy if known."""
    trials = [t for t in report["trials"] if t["latency_s"] is not None and t["score"] is not None]
    if not trials:
        return ""
    scale, unit = (1e3, "ms") if report["baseline"]["latency_s"] < 1 else (1.0, "s")
    name, shown = report["search"]["score"], _near(trials)
    result, quality = _result(report, scale, unit)
    marks = [_mark(t, scale, unit, name) for t in shown] + ([result] if result else [])
    goal = goal_s(report)
    upright = [] if goal is None else [Line(goal * scale, f"goal: {svg.number(goal * scale)} {unit}")]
    y_name = f"{name} of candidates, accuracy of the result" if quality == "accuracy" else name
    levels = _level(report)

    def draw(width: int) -> str:
        return svg.scatter(marks, f"latency ({unit})", y_name, svg.number, upright, levels, width)

    chart = svg.wide_and_narrow(draw)
    words_used = ("candidate", "trial", "fidelity", "divergence", "Pareto front")
    return chart + _legend(report, result, goal) + _told(report, len(trials), len(shown)) + explained(*words_used)


def goal_s(report: Mapping) -> float | None:
    """The latency that was asked for, whichever way; None where it was none."""
    goals = report["goals"]
    found = [goals["latency_s"]] if "latency_s" in goals else []
    if "speedup" in goals:
        found.append(report["baseline"]["latency_s"] / goals["speedup"])
    return min(found, default=None)


def _near(trials: Sequence[Mapping]) -> list[Mapping]:
    """The candidates without those that lie far below the others; the chosen one always."""
    low, high = np.percentile([t["score"] for t in trials], [25, 75])
    return [t for t in trials if t["chosen"] or t["score"] >= low - FENCE * (high - low)]


def _mark(trial: Mapping, scale: float, unit: str, name: str) -> Mark:
    at = trial["latency_s"] * scale
    title = f"{svg.number(at)} {unit}, {name} {trial['score']:.4f}"
    return Mark(at, trial["score"], "chosen" if trial["chosen"] else "trial", title)


def _result(report: Mapping, scale: float, unit: str) -> tuple[Mark | None, str]:
    """The result with what is known of its quality, and which that is."""
    after = report["result"]
    quality = "fidelity" if after["accuracy"] is None else "accuracy"
    if after[quality] is None:
        return None, quality
    at = after["latency_s"] * scale
    title = f"result: {svg.number(at)} {unit}, {quality} {words.percent(after[quality])}"
    return Mark(at, after[quality], "result", title), quality


def _level(report: Mapping) -> list[Line]:
    """The original's accuracy, where there is one."""
    accuracy = report["baseline"]["accuracy"]
    if accuracy is None or report["result"]["accuracy"] is None:
        return []
    return [Line(accuracy, f"accuracy of the original: {words.percent(accuracy)}")]


def _legend(report: Mapping, result: Mark | None, goal: float | None) -> str:
    name = report["search"]["score"]
    entries = [
        ("trial", f"candidate, before fine-tuning: {name}"),
        ("front", "best at each latency (Pareto front)"),
        ("chosen", "the one that was chosen"),
    ]
    if result is not None:
        quality = "fidelity" if report["result"]["accuracy"] is None else "accuracy"
        value = words.percent(report["result"][quality])
        entries.append(("result", f"the same as delivered: {quality} {value}"))
    if goal is not None:
        entries.append(("goal", f"goal: at most {words.duration(goal, 3)}"))
    return legend(*entries)


def _told(report: Mapping, trials: int, shown: int) -> str:
    seconds, different = report["search"]["seconds"], report["search"]["candidates"]
    sentences = []
    if seconds:
        sentences.append(f"{trials} trials of {different} different candidates in {words.duration(seconds)}.")
    if shown < trials:
        sentences.append(f"{trials - shown} far below the others are not drawn.")
    if len({t["score"] for t in report["trials"]}) == 1:
        sentences.append(f"All candidates have the same {report['search']['score']}.")
    original = words.latency(report["baseline"])
    sentences.append(f"The original takes {original}, which may lie outside of the plot. Where candidates are about as "
                     "fast, the one with the least divergence is chosen, which need not be the one above all others.")
    return f'<p class="over">{" ".join(sentences)}</p>'
