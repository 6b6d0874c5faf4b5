"""report.html: one page that opens offline, with everything a reader asks after a compilation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pfir.report import glossary, svg, wording
from pfir.report.markup import explained, legend, pairs, prose, row, section, text
from pfir.report.search_plot import search_plot
from pfir.report.style import STYLE
from pfir.report.terminal import rows
from pfir.target import FLOAT32

OPEN_LAYERS = 12  # Layers whose latency is listed; the others are summed.
OPEN_LIST = 24  # Up to this many layers are listed at once; longer lists start folded.
HELD_BACK = {
    "held_back_loss": "held-back loss",
    "held_back_accuracy": "held-back accuracy",
    "held_back_fidelity": "held-back fidelity",
}
"""Figures of an epoch as a reader finds them, by their keys in report.json."""


def page(report: Mapping) -> str:
    """The page of a report.json dictionary, as HTML text without anything to load from elsewhere."""
    parts = [
        _header(report),
        _notes(report),
        _tiles(report),
        section("Before and after", _table(report)),
        section("Latency by layer", _layers(report)),
        section("Eight bits and channels", _alone(report)),
        section("What made it smaller", _shrunk(report)),
        section("Search", search_plot(report)),
        section("Channels of each group of layers", _widths(report)),
        section("Finalists", _finalists(report)),
        section("Fine-tuning", _training(report)),
        section("What was assumed", _assumed(report)),
        section("Where the time went", _stages(report)),
        section("What had to stay", _kept(report)),
        section("How to make it again", _recipe(report)),
        section("Glossary", _glossary()),
        f"<footer>pfir {text(report['pfir'])}</footer>",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{text(report['model'].get('name', 'model'))}: {text(wording.headline(report))}</title>"
    body = "\n".join(part for part in parts if part)
    top = f'<!doctype html>\n<html lang="en"><head>{head}{title}<style>{STYLE}</style></head>'
    return f"{top}\n<body><main>\n{body}\n</main></body></html>\n"


def _header(report: Mapping) -> str:
    name, target = report["model"].get("name", "model"), report["target"]["name"]
    kind, state = ("good", "Goal met") if report["met"] else ("bad", "Goal not met")
    facts = f"asked for {text(report['goal'])} · {text(wording.verified(report))}"
    return (
        f'<header><div class="over">{text(name)} → {text(target)}</div><h1>{text(wording.headline(report))}</h1>'
        f'<p class="soft"><span class="state {kind}">{state}</span> · {facts}</p></header>'
    )


def _notes(report: Mapping) -> str:
    items = "".join(f"<li>{text(note)}</li>" for note in report["notes"])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _tiles(report: Mapping) -> str:
    before, after = report["baseline"], report["result"]
    times = f"{wording.latency(before)} → {wording.latency(after)}"
    size = (wording.size(after["size_bytes"]), _was("size", wording.size(before["size_bytes"])))
    macs = (wording.count(after["macs"]), _was("multiply-accumulates", wording.count(before["macs"])))
    tiles: dict[str, tuple[str, str] | None] = {
        "speedup": (wording.faster(report), f"speed-up: {times} ({wording.source(report)})"),
        "max_drop": _quality_tile(report),
        "size": size,
        "macs": macs,
    }
    asked = ["speedup" if goal == "latency_s" else goal for goal in report["goals"]]
    shown = [tile for name in dict.fromkeys([*asked, *tiles]) if (tile := tiles[name])]
    boxes = [f'<div class="tile"><b>{text(value)}</b><span>{_unbroken(label)}</span></div>' for value, label in shown]
    return f'<div class="tiles">{"".join(boxes)}</div>'


def _unbroken(label: str) -> str:
    """A text that is broken before no percent sign."""
    return text(label).replace(" %", "&nbsp;%")


def _quality_tile(report: Mapping) -> tuple[str, str] | None:
    before, after = report["baseline"], report["result"]
    if after["accuracy"] is not None:
        return wording.percent(after["accuracy"]), _was("accuracy", before["accuracy"])
    if after["fidelity"] is None:
        return None
    label = f"fidelity to the original{wording.on_what(report)}"
    return wording.percent(after["fidelity"]), _was(label, before["fidelity"])


def _was(label: str, before: object) -> str:
    before = wording.percent(before) if isinstance(before, float) else before
    return label if before in (None, wording.NOTHING) else f"{label}, was {before}"


def _table(report: Mapping) -> str:
    found = rows(report)
    head = '<tr><th></th><th class="n">before</th><th class="n">after</th><th class="n">ratio</th></tr>'
    body = "".join(row(name, ("n", before), ("n", after), ("n ratio", ratio)) for name, before, after, ratio in found)
    used = [term for term in glossary.TERMS if any(term in name for name, *_ in found)]
    return f"<table>{head}{body}</table>{explained(*used)}"


def _assumed(report: Mapping) -> str:
    target, side, check = report["target"], report["result"], report["verification"]
    spread = f" ± {100 * side['latency_spread']:.0f} %" if side["latency_spread"] else ""
    found = {
        "core": f"{wording.core(report)}, {target['threads']} thread{'s' if target['threads'] != 1 else ''}",
        "target": f"{target['triple']}, code for {target['cpu']}",
        "arithmetic": report["arithmetic"],
        "kernels compute in": wording.computed_in(report),
        "latency": f"{side['latency_source']}{spread}: {side['latency_detail']}",
        "core's figures from": target["core_source"],
        "fidelity": f"agreement with the original on {report['fidelity_data']} inputs",
        "kernels": wording.tuned(report["tuned"]),
        "library": wording.library(report),
        "verification": _errors(report, check),
    }
    used = ["counted instructions", "kernel"] if wording.is_estimate(report) else ["kernel"]
    return pairs({name: told for name, told in found.items() if told}) + explained(*used)


def _errors(report: Mapping, check: Mapping) -> str:
    said = wording.verified(report)
    if check["max_abs_error"] is None:
        return said
    limits = "" if check["tolerance"] is None else f", tolerance {check['tolerance']:.1g}"
    relative = "" if check["max_rel_error"] is None else f", relative {check['max_rel_error']:.1g}"
    answers = "" if check["top1_agreement"] is None else f", {check['top1_agreement']:.0%} of best classes equal"
    many = f" on {check['samples']} samples" if check["samples"] > 1 else ""
    error = f"largest error {check['max_abs_error']:.1g}{relative}{limits}{answers}"
    return f"{said}{many} against {check['against']}: {error}"


def _layers(report: Mapping) -> str:
    layers = [layer for layer in report["layers"] if layer["before_s"] or layer["after_s"]]
    if not layers:
        return ""
    most = max(max(layer["before_s"] or 0.0, layer["after_s"] or 0.0) for layer in layers)
    cut = OPEN_LAYERS if len(layers) > OPEN_LAYERS + 1 else len(layers)
    shown, rest = layers[:cut], layers[cut:]
    listed = "".join(_layer(_kernel(x), x["before_s"], x["after_s"], most) for x in shown)
    if rest:
        before, after = (sum(x[side] or 0.0 for x in rest) for side in ("before_s", "after_s"))
        listed += _layer(f"{len(rest)} more together", before, after, max(most, before, after))
    source = "Estimates" if wording.is_estimate(report) else "Estimates, scaled to the measured latency of the original"
    told = f"{source}. What takes longest in the original comes first; each has with it what is fused into it."
    key = legend(("before", "before"), ("after", "after"))
    return f'<div class="layers">{listed}</div>{key}<p class="over">{told}</p>'


def _kernel(layer: Mapping) -> str:
    computes = f", {layer['arithmetic']}" if layer["arithmetic"] not in (None, FLOAT32.name) else ""
    return f"{layer['name']} ({wording.KINDS[layer['family']]}{computes})"


def _alone(report: Mapping) -> str:
    """What the result computes in, and what each way would have given without the other."""
    found = {"result": wording.computed_in(report) or "all kernels float32"} if report["alone"] else {}
    if (kept := wording.kept(report)) is not None:
        found["weights"] = kept
    found |= dict(line.split(": ", 1) for line in wording.alone(report))
    return pairs(found) + explained("eight bits") if found else ""


def _shrunk(report: Mapping) -> str:
    """Bytes of weights behind each method, of all layers together and of each."""
    if wording.shrunk(report) is None:
        return ""
    weights, names = report["weights"], ("before", *wording.STEPS)
    kinds = {each["layer"]: each["kind"] for each in weights["after"]["layers"]}
    head = "".join(f"<th>{wording.STEPS.get(name, name)}</th>" for name in names)
    whole = row("all layers", *(("n", _bytes(weights["steps"][name])) for name in names), ("", ""))
    layers = [
        row(x["layer"], *(("n", _bytes(x.get(name))) for name in names), ("soft", kinds.get(x["layer"], "gone")))
        for x in weights["steps_by_layer"]
    ]
    head = f"<tr><th></th>{head}<th>kept as</th></tr>"
    listed = f"<details><summary>{len(layers)} layers</summary><table>{head}{''.join(layers)}</table></details>"
    told = "Weights of layers without biases and scales; packed are the values of all tensors, entropy-coded together."
    return f'<table>{head}{whole}</table>{listed}<p class="over">{told}</p>'


def _bytes(count: int | None) -> str:
    return "" if count is None else wording.size(count)


def _layer(name: str, before: float | None, after: float | None, most: float) -> str:
    bars = "".join(
        f'<div class="bar {kind}" style="width:{100 * (seconds or 0.0) / most:.1f}%"></div>'
        for kind, seconds in (("before", before), ("after", after))
    )
    numbers = f"{wording.duration(before, 2)} → {'gone' if after is None else wording.duration(after, 2)}"
    return f'<div class="layer"><span>{text(name)}</span><div>{bars}</div><em>{numbers}</em></div>'


def _widths(report: Mapping) -> str:
    widths = [w for w in report["widths"] if w["before"] > 0]
    if not widths:
        return ""
    names, before, after = ([w[key] for w in widths] for key in ("group", "before", "after"))
    chart = svg.wide_and_narrow(lambda width: svg.columns(names, before, after, width))
    by_name = f'<div class="widths">{"".join(map(_width, widths))}</div>'
    state = " open" if len(widths) <= OPEN_LIST else ""
    key = legend(("after", "kept"), ("before", "removed"))
    told = explained("channel", "group", "branch")
    return f"{chart}{key}<details{state}><summary>{len(widths)} groups by name</summary>{by_name}</details>{told}"


def _width(width: Mapping) -> str:
    share = 100 * width["after"] / width["before"]
    name = text(width["group"])
    bar = f'<div class="track"><u style="width:{share:.1f}%"></u></div>'
    numbers = f"<em>{width['before']} → {width['after'] or 'gone'}</em>"
    return f'<div class="width" title="{name}"><span><bdi>{name}</bdi></span>{bar}{numbers}</div>'


def _finalists(report: Mapping) -> str:
    """What a short training made of each candidate that it compared."""
    found = report["finalists"]
    if not found:
        return ""
    columns = ("candidate", "divergence untrained", "after the short training", "fidelity", "steps", "")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in columns)}</tr>"
    table = [
        row(
            str(f["place"]),
            *(("n", svg.number(f[key])) for key in ("untrained", "divergence")),
            ("n", svg.percent(f["fidelity"])),
            ("n", str(f["steps"])),
            ("soft", "got the long training" if f["chosen"] else ""),
        )
        for f in found
    ]
    return f"<table>{head}{''.join(table)}</table>{explained('finalist', 'divergence', 'fidelity')}"


def _training(report: Mapping) -> str:
    epochs = [e for e in report["training"] if e["loss"] is not None]
    if not epochs:
        return ""
    curves = _curves(epochs)
    if len(epochs) == 1:
        shown = {name: svg.number(points[0][1]) for name, points in curves.items()}
        return pairs({"epochs": svg.number(epochs[0]["epoch"])} | shown) + explained("fine-tuning", *_known(curves))
    charts = [
        svg.curve([p[0] for p in points], [p[1] for p in points], "epoch", name, _shown_as(name))
        for name, points in curves.items()
    ]
    told = explained("fine-tuning", "epoch", *_known(curves))
    return f'<div class="pair">{"".join(f"<div>{chart}</div>" for chart in charts)}</div>{told}'


def _curves(epochs: Sequence[Mapping]) -> dict[str, list[tuple[float, float]]]:
    """Points (epoch, value) by name: the loss, samples held back, then the parts of the loss; only names with any."""
    parts = sorted({name for e in epochs for name in e["metrics"]})
    found = {"loss": [(e["epoch"], e["loss"]) for e in epochs]}
    found |= {name: [(e["epoch"], e.get(key)) for e in epochs] for key, name in HELD_BACK.items()}
    found |= {name: [(e["epoch"], e["metrics"].get(name)) for e in epochs] for name in parts}
    known = {name: [(x, y) for x, y in points if y is not None] for name, points in found.items()}
    return {name: points for name, points in known.items() if points}


def _shown_as(name: str) -> Callable[[float], str]:
    shares = ("accuracy", "fidelity", "agreement")
    return svg.percent if name.removeprefix("held-back ") in shares else svg.number


def _known(names: Iterable[str]) -> list[str]:
    """Those of these names that the glossary has."""
    return [name for name in names if name in glossary.TERMS]


def _stages(report: Mapping) -> str:
    stages, total = report["stages"], sum(stage["seconds"] for stage in report["stages"])
    if not stages or total <= 0:
        return ""
    named = [(glossary.stage(stage["name"]), stage["seconds"]) for stage in stages]
    bar = "".join(f'<u style="flex:{seconds / total:.4f}" title="{text(name)}"></u>' for name, seconds in named)
    table = [
        row(name, ("n", wording.duration(seconds)), ("n soft", f"{seconds / total:.0%}")) for name, seconds in named
    ]
    table.append(row("together", ("n", wording.duration(total)), ("n", "")))
    told = explained("branch", "fit layers", "verification")
    return f'<div class="stages">{bar}</div><table>{"".join(table)}</table>{told}'


def _kept(report: Mapping) -> str:
    if not report["kept"]:
        return ""
    body = "".join(row(k["node"], ("", k["reason"])) for k in report["kept"])
    places = "1 place" if len(report["kept"]) == 1 else f"{len(report['kept'])} places"
    summary = f"<summary>{places} where channels could not be removed</summary>"
    table = f"<table><tr><th>node</th><th>reason</th></tr>{body}</table>"
    return f"<details>{summary}{table}</details>{explained('pinned')}"


def _recipe(report: Mapping) -> str:
    passes = "\n".join(map(text, report["passes"]))
    command = f"<pre>{text(report['command'])}</pre>" if report["command"] else ""
    applied = f"<details><summary>passes, in order</summary><pre>{passes}</pre></details>" if passes else ""
    found = {"seed": report["seed"], **report["recipe"], **report["versions"]}
    parameters = f"<details><summary>parameters and versions</summary>{pairs(found)}</details>"
    return f"{command}{applied}{parameters}{explained('recipe')}"


def _glossary() -> str:
    """Every word with its meaning, folded."""
    found = pairs(dict(glossary.in_order()), prose)
    return f"<details><summary>{len(glossary.TERMS)} words explained</summary>{found}</details>"
