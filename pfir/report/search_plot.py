"""The plot of a search: its candidates with the goal, what was chosen, and what became of it by fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.report import svg, wording
from pfir.report.markup import explained, legend
from pfir.report.svg import Line, Mark

FENCE = 1.5
"""Candidates this many interquartile ranges below the lower quartile are left out (Tukey's fence)."""


@dataclass(frozen=True)
class Quantity:
    """What candidates are drawn over: what was asked for, if it is one of their costs.

    Args:
        key: Of a side and of a trial.
        name: For the axis, with the unit.
        scale: Of that unit.
        show: A value in words.
        goal: At most this much was asked for; None where it was not.
    """

    key: str
    name: str
    scale: float
    show: Callable[[float], str]
    goal: float | None

    def at(self, values: Mapping) -> float:
        """Where a side or a trial stands."""
        return values[self.key] / self.scale


def search_plot(report: Mapping) -> str:
    """Fidelity over cost, zoomed to the candidates; the result is a mark of its own, at its accuracy if known."""
    trials = [t for t in report["trials"] if t["latency_s"] is not None and t["score"] is not None]
    if not trials:
        return ""
    name, shown, cost = report["search"]["score"], _near(trials), _quantity(report)
    quality, level = _quality(report), _level(report)
    marks = [*(_mark(t, cost, name) for t in shown), *_result(report, cost, quality)]
    goal = [] if cost.goal is None else [Line(cost.goal / cost.scale, f"goal: {cost.show(cost.goal)}")]
    y_name = f"{name} of candidates, accuracy of the result" if quality == "accuracy" else name

    def draw(width: int) -> str:
        return svg.scatter(marks, cost.name, y_name, svg.number, goal, level, width)

    told = _told(report, len(trials), len(shown), cost)
    explanations = explained("candidate", "trial", "fidelity", "divergence", "Pareto front")
    return svg.wide_and_narrow(draw) + _legend(report, cost, quality) + told + explanations


def _quantity(report: Mapping) -> Quantity:
    goals, before = report["goals"], report["baseline"]
    latencies = [goals["latency_s"]] if "latency_s" in goals else []
    latencies += [before["latency_s"] / goals["speedup"]] if "speedup" in goals else []
    if not latencies and "size" in goals and _tells(report, "size_bytes"):
        size = before["size_bytes"]
        scale, unit = (1e6, "MB") if size >= 1e6 else (1e3, "kB")
        return Quantity("size_bytes", f"size ({unit})", scale, wording.size, size / goals["size"])
    if not latencies and "macs" in goals and _tells(report, "macs"):
        return Quantity("macs", "multiply-accumulates (M)", 1e6, wording.count, before["macs"] * goals["macs"])
    scale, unit = (1e-3, "ms") if before["latency_s"] < 1 else (1.0, "s")
    return Quantity("latency_s", f"latency ({unit})", scale, wording.duration, min(latencies, default=None))


def _tells(report: Mapping, key: str) -> bool:
    """Whether the trials know this cost; those of an earlier version's journal know the latency alone."""
    return all(trial[key] is not None for trial in report["trials"])


def _near(trials: Sequence[Mapping]) -> list[Mapping]:
    """The candidates without those that lie far below the others; the chosen one always."""
    low, high = np.percentile([t["score"] for t in trials], [25, 75])
    return [t for t in trials if t["chosen"] or t["score"] >= low - FENCE * (high - low)]


def _mark(trial: Mapping, cost: Quantity, name: str) -> Mark:
    title = f"{cost.show(trial[cost.key])}, {name} {trial['score']:.4f}"
    if trial["divergence"] is not None:
        title += f", divergence {trial['divergence']:.4f}"
    return Mark(cost.at(trial), trial["score"], "chosen" if trial["chosen"] else "trial", title)


def _quality(report: Mapping) -> str:
    return "fidelity" if report["result"]["accuracy"] is None else "accuracy"


def _result(report: Mapping, cost: Quantity, quality: str) -> list[Mark]:
    """The result, where its quality is known."""
    after = report["result"]
    if after[quality] is None:
        return []
    title = f"result: {cost.show(after[cost.key])}, {quality} {wording.percent(after[quality])}"
    return [Mark(cost.at(after), after[quality], "result", title)]


def _level(report: Mapping) -> list[Line]:
    """The original's accuracy, where there is one."""
    accuracy = report["baseline"]["accuracy"]
    if accuracy is None or report["result"]["accuracy"] is None:
        return []
    return [Line(accuracy, f"accuracy of the original: {wording.percent(accuracy)}")]


def _legend(report: Mapping, cost: Quantity, quality: str) -> str:
    entries = [
        ("trial", f"candidate, before fine-tuning: {report['search']['score']}"),
        ("front", "the best at each cost (Pareto front)"),
        ("chosen", "the one that was chosen"),
    ]
    value = report["result"][quality]
    entries += [] if value is None else [("result", f"the same as delivered: {quality} {wording.percent(value)}")]
    entries += [] if cost.goal is None else [("goal", f"goal: at most {cost.show(cost.goal)}")]
    return legend(*entries)


def _told(report: Mapping, trials: int, shown: int, cost: Quantity) -> str:
    search, before = report["search"], report["baseline"]
    said = []
    if search["seconds"]:
        said.append(
            f"{trials} trials of {search['candidates']} different candidates in {wording.duration(search['seconds'])}."
        )
    if shown < trials:
        said.append(f"{trials - shown} far below the others are not drawn.")
    if len({t["score"] for t in report["trials"]}) == 1:
        said.append(f"All candidates have the same {search['score']}.")
    original = wording.latency(before) if cost.key == "latency_s" else cost.show(before[cost.key])
    said.append(
        f"The original is at {original}, which may lie outside of the plot. Of the candidates that keep the "
        "goal the one with the least divergence is chosen, which need not be the highest."
    )
    return f'<p class="over">{" ".join(said)}</p>'
