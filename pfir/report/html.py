"""report.html: one page that opens offline, with everything a reader asks after a compilation."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from pfir.names import visible
from pfir.report import svg, words
from pfir.report.style import STYLE
from pfir.report.svg import Mark
from pfir.report.terminal import rows

OPEN_LIST = 24  # Up to this many layers are listed at once; longer lists start folded.


def page(report: Mapping) -> str:
    """The page of a report.json dictionary, as HTML text without anything to load from elsewhere."""
    parts = [
        _header(report),
        _notes(report),
        _tiles(report),
        _section("Before and after", _table(report)),
        _section("What was assumed", _assumed(report)),
        _section("Search", _trials(report)),
        _section("Channels of each layer", _widths(report)),
        _section("Fine-tuning", _training(report)),
        _section("Where the time went", _stages(report)),
        _section("What had to stay", _kept(report)),
        _section("Recipe", _recipe(report)),
        f"<footer>pfir {_text(report['pfir'])}</footer>",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{_text(report['model'].get('name', 'model'))}: {_text(words.headline(report))}</title>"
    body = "\n".join(part for part in parts if part)
    top = f'<!doctype html>\n<html lang="en"><head>{head}{title}<style>{STYLE}</style></head>'
    return f"{top}\n<body><main>\n{body}\n</main></body></html>\n"


def _header(report: Mapping) -> str:
    name, target = report["model"].get("name", "model"), report["target"]["name"]
    kind, state = ("good", "Goal met") if report["met"] else ("bad", "Goal not met")
    facts = f"asked for {_text(report['goal'])} · {_text(words.verified(report))}"
    return (
        f'<header><div class="over">{_text(name)} → {_text(target)}</div><h1>{_text(words.headline(report))}</h1>'
        f'<p class="soft"><span class="state {kind}">{state}</span> · {facts}</p></header>'
    )


def _notes(report: Mapping) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in report["notes"])
    return f'<ul class="notes">{items}</ul>' if items else ""


def _tiles(report: Mapping) -> str:
    before, after = report["baseline"], report["result"]
    quality = ("accuracy", "accuracy") if after["accuracy"] is not None else ("fidelity", "fidelity to the original")
    latency = f"{words.duration(before['latency_s'])} → {words.duration(after['latency_s'])}"
    tiles = [(f"{report['speedup']:.2f}x", latency)]
    if after[quality[0]] is not None:
        tiles.append((words.percent(after[quality[0]]), _was(quality[1], before[quality[0]])))
    tiles.append((words.size(after["size_bytes"]), _was("file size", words.size(before["size_bytes"]))))
    tiles.append((words.count(after["macs"]), _was("multiply-accumulates", words.count(before["macs"]))))
    boxes = [f'<div class="tile"><b>{_text(value)}</b><span>{_text(label)}</span></div>' for value, label in tiles]
    return f'<div class="tiles">{"".join(boxes)}</div>'


def _was(label: str, before: object) -> str:
    before = words.percent(before) if isinstance(before, float) else before
    return label if before in (None, words.NOTHING) else f"{label}, was {before}"


def _table(report: Mapping) -> str:
    head = '<tr><th></th><th class="n">before</th><th class="n">after</th><th class="n">ratio</th></tr>'
    body = "".join(
        _row(name, ("n", before), ("n", after), ("n ratio", ratio)) for name, before, after, ratio in rows(report)
    )
    return f"<table>{head}{body}</table>"


def _row(name: str, *cells: tuple[str, str]) -> str:
    rest = "".join(f'<td class="{kind}">{_text(cell)}</td>' for kind, cell in cells)
    return f"<tr><td>{_text(name)}</td>{rest}</tr>"


def _assumed(report: Mapping) -> str:
    target, side, check = report["target"], report["result"], report["verification"]
    spread = f" ± {100 * side['latency_spread']:.0f} %" if side["latency_spread"] else ""
    pairs = {
        "core": f"{words.core(report)}, {target['threads']} thread{'s' if target['threads'] != 1 else ''}",
        "target": f"{target['triple']}, code for {target['cpu']}",
        "arithmetic": report["arithmetic"],
        "latency": f"{side['latency_source']}{spread}: {side['latency_detail']}",
        "peaks from": target["core_source"],
        "fidelity": f"agreement with the original on {report['fidelity_data']} inputs",
        "kernels": words.tuned(report["tuned"]),
        "verification": _errors(report, check),
    }
    return _pairs({name: text for name, text in pairs.items() if text})


def _errors(report: Mapping, check: Mapping) -> str:
    text = words.verified(report)
    if check["max_abs_error"] is None:
        return text
    limits = "" if check["tolerance"] is None else f", tolerance {check['tolerance']:.1g}"
    relative = "" if check["max_rel_error"] is None else f", relative {check['max_rel_error']:.1g}"
    answers = "" if check["top1_agreement"] is None else f", {check['top1_agreement']:.0%} of best classes equal"
    many = f" on {check['samples']} samples" if check["samples"] > 1 else ""
    error = f"largest error {check['max_abs_error']:.1g}{relative}{limits}{answers}"
    return f"{text}{many} against {check['against']}: {error}"


def _trials(report: Mapping) -> str:
    trials = [t for t in report["trials"] if t["latency_s"] is not None and t["score"] is not None]
    if not trials:
        return ""
    scale, unit = (1e3, "ms") if report["baseline"]["latency_s"] < 1 else (1.0, "s")
    name, candidates = report["search"]["score"], report["search"]["candidates"]
    marks = [_mark(t, scale, unit, name) for t in trials]
    original = report["baseline"]["latency_s"] * scale
    marks.append(Mark(original, 1.0, "original", f"original: {svg.number(original)} {unit}"))
    chart = svg.scatter(marks, f"latency ({unit})", name, svg.number)
    legend = _legend(
        ("trial", f"{candidates} candidates, before fine-tuning"),
        ("front", "best at each latency"),
        ("chosen", "chosen"),
        ("original", "original"),
    )
    seconds = report["search"]["seconds"]
    told = f"{len(trials)} trials of {candidates} different candidates in {words.duration(seconds)}"
    return chart + legend + (f'<p class="over">{told}</p>' if seconds else "")


def _mark(trial: Mapping, scale: float, unit: str, name: str) -> Mark:
    at = trial["latency_s"] * scale
    title = f"{svg.number(at)} {unit}, {name} {trial['score']:.4f}"
    return Mark(at, trial["score"], "chosen" if trial["chosen"] else "trial", title)


def _widths(report: Mapping) -> str:
    widths = [w for w in report["widths"] if w["before"] > 0]
    if not widths:
        return ""
    chart = svg.columns([w["group"] for w in widths], [w["before"] for w in widths], [w["after"] for w in widths])
    listed = f'<div class="widths">{"".join(map(_width, widths))}</div>'
    state = " open" if len(widths) <= OPEN_LIST else ""
    legend = _legend(("after", "kept"), ("before", "removed"))
    return f"{chart}{legend}<details{state}><summary>{len(widths)} layers by name</summary>{listed}</details>"


def _width(width: Mapping) -> str:
    share = 100 * width["after"] / width["before"]
    name = _text(width["group"])
    bar = f'<div class="track"><u style="width:{share:.1f}%"></u></div>'
    numbers = f"<em>{width['before']} → {width['after'] or 'gone'}</em>"
    return f'<div class="width" title="{name}"><span><bdi>{name}</bdi></span>{bar}{numbers}</div>'


def _training(report: Mapping) -> str:
    epochs = [e for e in report["training"] if e["loss"] is not None]
    if not epochs:
        return ""
    charts = [svg.curve([e["epoch"] for e in epochs], [e["loss"] for e in epochs], "epoch", "loss", svg.number)]
    for name in sorted({name for e in epochs for name in e["metrics"]}):
        points = [(e["epoch"], e["metrics"][name]) for e in epochs if e["metrics"].get(name) is not None]
        show = svg.percent if name in ("accuracy", "fidelity", "agreement") else svg.number
        if points:
            charts.append(svg.curve([p[0] for p in points], [p[1] for p in points], "epoch", name, show))
    return f'<div class="pair">{"".join(f"<div>{chart}</div>" for chart in charts)}</div>'


def _stages(report: Mapping) -> str:
    stages, total = report["stages"], sum(stage["seconds"] for stage in report["stages"])
    if not stages or total <= 0:
        return ""
    bar = "".join(f'<u style="flex:{s["seconds"] / total:.4f}" title="{_text(s["name"])}"></u>' for s in stages)
    table = [
        _row(s["name"], ("n", words.duration(s["seconds"])), ("n soft", f"{s['seconds'] / total:.0%}")) for s in stages
    ]
    table.append(_row("together", ("n", words.duration(total)), ("n", "")))
    return f'<div class="stages">{bar}</div><table>{"".join(table)}</table>'


def _kept(report: Mapping) -> str:
    if not report["kept"]:
        return ""
    body = "".join(_row(k["node"], ("", k["reason"])) for k in report["kept"])
    places = "1 place" if len(report["kept"]) == 1 else f"{len(report['kept'])} places"
    summary = f"<summary>{places} where channels could not be removed</summary>"
    return f"<details>{summary}<table><tr><th>node</th><th>reason</th></tr>{body}</table></details>"


def _recipe(report: Mapping) -> str:
    passes = "\n".join(_text(text) for text in report["passes"])
    command = f'<p class="over">To do it again</p><pre>{_text(report["command"])}</pre>' if report["command"] else ""
    applied = f"<details><summary>passes, in order</summary><pre>{passes}</pre></details>" if passes else ""
    pairs = {"seed": report["seed"], **report["recipe"], **report["versions"]}
    return f"{command}{applied}<details><summary>parameters and versions</summary>{_pairs(pairs)}</details>"


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def _pairs(pairs: Mapping) -> str:
    return f"<dl>{''.join(f'<dt>{_text(key)}</dt><dd>{_text(value)}</dd>' for key, value in pairs.items())}</dl>"


def _legend(*entries: tuple[str, str]) -> str:
    items = "".join(f'<span><i class="{kind}"></i>{_text(text)}</span>' for kind, text in entries)
    return f'<div class="legend">{items}</div>'


def _text(value: object) -> str:
    """Safe in HTML: escaped, and without control characters."""
    return escape(visible(value))
