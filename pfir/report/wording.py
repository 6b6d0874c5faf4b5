"""Numbers and results in words, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from pfir.measurement import ESTIMATED
from pfir.report.warnings import SAFE_FIDELITY
from pfir.target import FLOAT16, FLOAT32

NOTHING = "–"
KINDS = {
    "conv": "convolution",
    "conv3x3": "3x3 convolution",
    "grouped": "grouped convolution",
    "depthwise": "depthwise convolution",
    "dense": "dense layer",
    "matmul": "matrix product",
    "pool": "pooling",
    "reduce": "reduction",
    "elementwise": "element-wise",
    "move": "copy",
}
"""Families of kernels as users call them."""
SHIPPED = "shipped"
_WORTH_ZEROS = 0.05
_WORTH_TELLING = 0.99
"""A smaller share of zeros is not worth a word."""


def duration(seconds: float | None, digits: int = 3) -> str:
    """With the unit that fits: `1.24 ms`, `35.0 s`, `12 min 5 s`."""
    if seconds is None:
        return NOTHING
    if seconds >= 120:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{_digits(seconds / scale, digits)} {unit}"
    return f"{_digits(seconds / 1e-9, digits)} ns"


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
    """A change of accuracy: `0.27 points of accuracy lost`, `0.10 points of accuracy gained`, `no accuracy lost`."""
    rounded = round(100 * share, 2)
    if rounded == 0:
        return "no accuracy lost"
    return f"{abs(rounded):.2f} points of accuracy {'lost' if rounded > 0 else 'gained'}"


def headline(report: Mapping) -> str:
    """What was reached, in a few words: first what was asked for."""
    return ", ".join(claims(report, _error(report), lost(report)))


def claims(report: Mapping, source: str, cost: str) -> list[str]:
    """What was reached, the goals first, then the speed-up and the cost.

    Args:
        source: How latencies were found.
        cost: What is lost, which is the goal of `--max-drop`.
    """
    goals, after = report["goals"], report["result"]
    facts = {
        "speed": _speed(report, source),
        "size": _smaller(report),
        "macs": f"{_share(after['macs'], report['baseline']['macs'])} of the multiply-accumulates",
        "cost": cost,
    }
    goal_facts = {"speedup": "speed", "latency_s": "speed", "size": "size", "macs": "macs", "max_drop": "cost"}
    order = dict.fromkeys([*(goal_facts[goal] for goal in goals), "speed", "cost"])
    return [text for text in (_nothing(report), *(facts[name] for name in order)) if text]


def _smaller(report: Mapping) -> str:
    """How many times smaller the packed file is, or the weights where there is none."""
    files = report["files"]
    if files is None:
        return f"{ratio(report['baseline']['size_bytes'], report['result']['size_bytes'])} smaller"
    return f"{ratio(files['original_bytes'], files['packed_bytes'])} smaller packed"


def unchanged(report: Mapping) -> bool:
    """Whether no channel was removed, and weights are kept, and every layer computes, as they were."""
    widths, sides = report["widths"], (report["baseline"], report["result"])
    removed = any(w["before"] != w["after"] for w in widths) or sides[0]["macs"] != sides[1]["macs"]
    return not removed and set(report["precision"]) <= {FLOAT32.name} and kept(report) is None


def computed_in(report: Mapping) -> str | None:
    """How many kernels of the result compute in what; None where all are float32: `12 kernels int8, 2 float32`."""
    found = sorted(report["precision"].items(), key=lambda item: -item[1])
    if set(report["precision"]) <= {FLOAT32.name}:
        return None
    (name, most), *others = found
    return ", ".join([f"{most} kernel{'s' if most != 1 else ''} {name}", *(f"{n} {other}" for other, n in others)])


def alone(report: Mapping) -> list[str]:
    """What eight bits and channels would have given alone, a line each."""
    return [f"{each['way']} alone: {_alone(each)}" for each in report["alone"]]


def kept(report: Mapping) -> str | None:
    """What weights are kept as: `44.0 kB float32 -> 5.0 kB codebook, 1.0 kB float32, 50% zeros`; None where those of
    the result are kept like the original's."""
    sides = report["weights"]["before"], report["weights"]["after"]
    if not sides[1]["bytes"] or (set(sides[1]["bytes"]) == set(sides[0]["bytes"]) and sides[1]["zeros"] < _WORTH_ZEROS):
        return None
    return " -> ".join(map(_kept, sides))


def library(report: Mapping) -> str | None:
    """How large the library is, and what expanding its constants takes: `150 kB, constants of 590 kB in 130 kB,
    expanded in 0.3 ms at load (1.4 M instructions)`; None where it is not known."""
    found = report["library"]
    if found is None:
        return None
    said = [size(found["size_bytes"])]
    if found["load_instructions"]:
        said += [
            f"constants of {size(found['read_bytes'])} in {size(found['linked_bytes'])}",
            f"expanded in about {duration(found['load_s'])} at load ({count(found['load_instructions'])} instructions)",
        ]
    if found["host_load_s"] is not None:
        said.append(f"loaded on this machine in {duration(found['host_load_s'])}")
    return ", ".join(said)


STEPS = {
    "channels": "fewer channels",
    "zeros": "zeros left out",
    "bits": "fewer bits",
    "packed": "packed",
}
"""What each step of `weights` in report.json is called."""


def shrunk(report: Mapping) -> str | None:
    """Bytes of the weights behind each method that took some off: `44.0 kB, fewer bits 5.0 kB, packed 4.2 kB`; None
    where nothing but packing did."""
    steps = report["weights"]["steps"]
    known = [(name, steps[name]) for name in ("before", *STEPS) if steps[name]]
    pairs = zip(known, known[1:], strict=False)
    took = [(name, left) for (_, before), (name, left) in pairs if left <= _WORTH_TELLING * before]
    if not known or not any(name != "packed" for name, _ in took):
        return None
    return ", ".join([size(steps["before"]), *(f"{STEPS[name]} {size(left)}" for name, left in took)])


def _kept(side: Mapping) -> str:
    sizes = sorted(side["bytes"].items(), key=lambda item: -item[1])
    zeros = [f"{side['zeros']:.0%} zeros"] if side["zeros"] >= _WORTH_ZEROS else []
    return ", ".join([*(f"{size(count)} {kind}" for kind, count in sizes), *zeros])


def _alone(each: Mapping) -> str:
    known = each["fidelity"] is not None
    facts = [f"{about(each['speedup'])} faster" if each["speedup"] >= 1 else f"{about(each['speedup'])} as fast"]
    facts += [f"{each['size']:.2f}x smaller"] if each["size"] >= 1.005 else []
    facts += [f"fidelity {each['fidelity']:.3f} untrained"] if known else []
    said = ", ".join(facts) if known else f"at most {', '.join(facts)}"
    return said + ("" if each["meets"] else ", which misses the goal")


def is_estimate(report: Mapping) -> bool:
    return report["result"]["latency_source"] == ESTIMATED


def latency(side: Mapping, digits: int = 2) -> str:
    """A latency: three digits of a measurement, two of an estimate, which are more than it knows."""
    return duration(side["latency_s"], digits if side["latency_source"] == ESTIMATED else 3)


def latency_row(report: Mapping) -> str:
    """What the row of latencies is called."""
    return f"latency ({source(report)})"


def source(report: Mapping) -> str:
    """How the latencies were found: `measured`, `estimate, ±6 %`."""
    return _error(report) or "measured"


def faster(report: Mapping) -> str:
    """The speed-up: `about 2.5x` of an estimate, `2.53x` of measurements.

    A goal that was missed gets another digit, so that what was reached does not read like what was asked for.
    """
    return about(report["speedup"], _precision(report)) if is_estimate(report) else f"{report['speedup']:.2f}x"


def about(factor: float, digits: int = 2) -> str:
    """A factor that was estimated: `about 2.5x`."""
    return f"about {_digits(factor, digits)}x"


def _speed(report: Mapping, source: str) -> str:
    taken = f"{'about ' if is_estimate(report) else ''}{latency(report['result'], _precision(report))} an inference"
    found = [taken] if "latency_s" in report["goals"] else []
    if not unchanged(report) and (report["speedup"] != 1 or "speedup" in report["goals"]):
        found.append(f"{faster(report)} faster" if report["speedup"] >= 1 else f"{faster(report)} as fast")
    return f"{', '.join(found)}{f' ({source})' if source else ''}" if found else ""


def _precision(report: Mapping) -> int:
    return 2 if report["met"] else 3


def _nothing(report: Mapping) -> str:
    """That nothing was removed, and why that is enough, if so."""
    if not unchanged(report):
        return ""
    if report["met"] and set(report["goals"]) == {"max_drop"}:
        judged = "fidelity" if report["result"]["accuracy"] is None else "accuracy"
        return f"nothing could be removed within {report['goals']['max_drop']:g} points of {judged}"
    return "nothing was removed" + (": the model already meets the goal" if report["met"] else "")


def _error(report: Mapping) -> str:
    """`estimate, ±6 %`; nothing of a measurement."""
    spread = report["result"]["latency_spread"]
    return f"estimate, ±{100 * spread:.0f} %" if is_estimate(report) else ""


def lost(report: Mapping) -> str:
    """What the result lost: accuracy where there are labels, else what fidelity is left."""
    if report["accuracy_drop"] is not None:
        return "" if unchanged(report) else points(report["accuracy_drop"])
    fidelity = report["result"]["fidelity"]
    return "" if fidelity is None else f"fidelity {fidelity:.3f}{on_what(report)}"


def on_what(report: Mapping) -> str:
    """That a fidelity says little, as no data was given."""
    return " on generated inputs" if report["fidelity_data"] == "generated" else ""


def core(report: Mapping) -> str:
    """The core assumed: `Cortex-A72 at 1.5 GHz`."""
    target = report["target"]
    name = target["core"]
    name = "Cortex-" + name[7:].upper() if name.startswith("cortex-") else name
    return f"{name} at {target['clock_hz'] / 1e9:g} GHz"


def judged(report: Mapping) -> str:
    """How the latencies were found, on what."""
    if is_estimate(report):
        return f"{_error(report)}, {core(report)}{_halves(report)}"
    return f"measured on {report['result']['latency_detail']}{_halves(report)}"


def _halves(report: Mapping) -> str:
    return f", {report['arithmetic']}" if report["target"]["arithmetic"] == FLOAT16.name else ""


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
    if found["passed"] is None:
        return "verification not applicable"
    if found["skipped"]:
        return f"not verified ({found['skipped']})"
    elsewhere = f", not verified on {found['not_verified_on']}" if found["not_verified_on"] else ""
    return f"{'verified' if found['passed'] else 'FAILED verification'} on {found['device']}{elsewhere}"


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
    return _digits(value, 3)


def _digits(value: float, digits: int) -> str:
    """So many significant digits, never in powers of ten."""
    return f"{value:.{max(0, digits - len(str(int(abs(value)))))}f}"


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3g} %" if whole else NOTHING
