"""Numbers and results in words, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from pfir.measurement import ESTIMATED
from pfir.report.record import SAFE_FIDELITY
from pfir.target import FLOAT16

NOTHING = "–"
SHIPPED = "shipped"


def duration(seconds: float | None) -> str:
    """Three digits with the unit that fits: `1.24 ms`, `35.0 s`, `12 min 5 s`."""
    if seconds is None:
        return NOTHING
    if seconds >= 120:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{_three(seconds / scale)} {unit}"
    return f"{_three(seconds / 1e-9)} ns"


def count(value: float | None) -> str:
    """Three digits with k, M or G."""
    return NOTHING if value is None else _scaled(value, (("G", 1e9), ("M", 1e6), ("k", 1e3))).rstrip()


def size(value: float | None) -> str:
    """Bytes with kB, MB or GB (powers of ten)."""
    return NOTHING if value is None else _scaled(value, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), "B")


def percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.2f} %"


def ratio(before: float | None, after: float | None) -> str:
    """How many times smaller; a dash where one is missing or nothing is left."""
    return f"{before / after:.2f}x" if before and after else NOTHING


def points(share: float) -> str:
    """A change of accuracy: `0.27 points lost`, `0.10 points gained`, `no accuracy lost`."""
    rounded = round(100 * share, 2)
    if rounded == 0:
        return "no accuracy lost"
    return f"{abs(rounded):.2f} points {'lost' if rounded > 0 else 'gained'}"


def headline(report: Mapping) -> str:
    """What was reached, in a few words."""
    speed = f"{report['speedup']:.2f}x faster"
    if report["accuracy_drop"] is not None:
        return f"{speed}, {points(report['accuracy_drop'])}"
    fidelity = report["result"]["fidelity"]
    return speed if fidelity is None else f"{speed}, fidelity {fidelity:.3f}"


def core(report: Mapping) -> str:
    """The core assumed: `Cortex-A72 at 1.5 GHz`."""
    target = report["target"]
    name = target["core"]
    name = "Cortex-" + name[7:].upper() if name.startswith("cortex-") else name
    return f"{name} at {target['clock_hz'] / 1e9:g} GHz"


def judged(report: Mapping) -> str:
    """How the latencies were found, on what."""
    if report["result"]["latency_source"] == ESTIMATED:
        return f"by estimate ({core(report)}{_halves(report)})"
    return f"measured on {report['result']['latency_detail']}{_halves(report)}"


def _halves(report: Mapping) -> str:
    return f", {report['arithmetic']}" if report["target"]["arithmetic"] == FLOAT16 else ""


def quality(report: Mapping) -> str:
    """What is known about the outputs: accuracy, or that none was measured."""
    before, after = report["baseline"]["accuracy"], report["result"]["accuracy"]
    if before is not None and after is not None:
        return f"accuracy {100 * before:.2f} -> {100 * after:.2f} %"
    fidelity = report["result"]["fidelity"]
    agreement = "" if fidelity is None else f" (fidelity {fidelity:.3f} on {report['fidelity_data']} inputs)"
    return f"no accuracy was measured{agreement}"


def verified(report: Mapping) -> str:
    found = report["verification"]
    if found["skipped"]:
        return f"not verified ({found['skipped']})"
    return f"{'verified' if found['passed'] else 'FAILED verification'} on {found['device']}"


def tuned(tuning: Mapping | None) -> str | None:
    """How many kernels are as was measured, and where that stands; None where there is no choice of kernels.

    `3 of 10 kernels tuned: shipped`, `5 of 10 kernels tuned: 3 shipped, 2 kernels.json 0a1b2c3d4e5f`
    """
    if not tuning:
        return None
    found = tuning["databases"]
    names = [d["name"] + ("" if d["name"] == SHIPPED else f" {d['sha256'][:12]}") for d in found]
    listed = names if len(found) == 1 else [f"{d['kernels']} {name}" for d, name in zip(found, names, strict=True)]
    count = sum(d["kernels"] for d in found)
    return f"{count or 'none'} of {tuning['kernels']} kernels tuned" + (f": {', '.join(listed)}" if found else "")


def unsafe(report: Mapping) -> bool:
    """Whether nothing but a low fidelity speaks for this result."""
    result = report["result"]
    return result["accuracy"] is None and result["fidelity"] is not None and result["fidelity"] < SAFE_FIDELITY


def advice(report: Mapping) -> str:
    """What to do before such a result is shipped; data that was given already is not asked for again."""
    if report["fidelity_data"] == "given":
        return "do not ship without a measure of your own"
    return "do not ship without data (--data)"


def _scaled(value: float, steps: tuple[tuple[str, float], ...], unit: str = "") -> str:
    for name, scale in steps:
        if abs(value) >= scale:
            return f"{_three(value / scale)} {name}"
    return f"{value:g} {unit}"


def _three(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return f"{value:.{max(0, 2 - len(str(int(abs(value)))) + 1)}f}"
