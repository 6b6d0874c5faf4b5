"""`pfir inspect`: a model's groups of coupled channels, what pins them and why, and what the model costs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.constants.codebooks import CodebookWeight, codebook_weight
from pfir.ir.constants.settle import settle_constants
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.coupling.groups import Group
from pfir.ir.linear import LinearLayer, linear_layers
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.names import visible
from pfir.report.wording import count, size

WIDTH = 120
"""Of the table where it goes to no terminal."""


def inspect_model(
    path: Path, keep: tuple[str, ...], only: tuple[str, ...], input_shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, object]:
    """Groups, pins and cost as plain data; where a size is not known, cost is None and a note says how to give it.

    Groups that no layer makes or reads, such as rows and columns that meet a constant, are only counted, as `others`.

    Raises:
        FrontendError: The model cannot be used.
        UsageError: `keep` or `only` names a node that the model lacks, or a shape contradicts it.
    """
    model = load(path)
    cost, why = _cost(model, dict(input_shapes or {}))
    settled = model.clone()
    settle_constants(settled)
    coupling = channel_groups(settled, keep, only)
    groups = [g for g in coupling.groups if not g.pins or g.producers or g.consuming]
    return {
        "model": str(path),
        "nodes": len(model.graph.nodes),
        "inputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in model.inputs()],
        "outputs": [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in model.outputs()],
        "passes": list(model.provenance),
        "cost": cost,
        "codebooks": [_codebook(layer.node.name, weight) for layer, weight in _coded(model)],
        "groups": [_group(g) for g in groups],
        "others": len(coupling.groups) - len(groups),
        "branches": [{"name": x.name, "groups": list(x.groups)} for x in coupling.branches],
        "notes": [*coupling.notes, *why],
    }


def print_inspection(found: dict[str, object], stream=None) -> None:
    """The same for a reader."""
    from rich.console import Console
    from rich.text import Text

    stream = stream or sys.stdout
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else WIDTH)
    console.print(Text(visible(f"{found['model']}: {found['nodes']} nodes")), soft_wrap=True)
    if found["cost"]:
        cost = found["cost"]
        console.print(
            f"{count(cost['macs'])} MACs, {count(cost['parameters'])} parameters, {size(cost['size_bytes'])}, "
            f"{size(cost['peak_activation_bytes'])} peak activations"
        )
    if found["codebooks"]:
        console.print(Text(visible(_told(found["codebooks"]))), soft_wrap=True)
    console.print(_table(found["groups"]))
    free = [g for g in found["groups"] if not g["pins"]]
    console.print(f"{len(free)} of {len(found['groups'])} groups may be pruned")
    if found["others"]:
        console.print(f"{found['others']} more, which no layer makes or reads, keep their size")
    if found["branches"]:
        number = len(found["branches"])
        branches = "1 residual branch" if number == 1 else f"{number} residual branches"
        console.print(f"{branches} may go whole (a ratio of 1 for their groups)")
    for note in found["notes"]:
        console.print(Text(visible(note)), soft_wrap=True)


def _cost(model: Model, input_shapes: Mapping[str, Sequence[int]]) -> tuple[dict[str, int] | None, list[str]]:
    """What the model costs, or why that is not known: a size that only the user can tell; the groups do not need it."""
    try:
        cost = model_cost(fix_sizes(model, None, input_shapes))
    except UsageError as error:
        if input_shapes:
            raise
        return None, [f"its cost is not known: {error}"]
    return asdict(cost), []


def _coded(model: Model) -> list[tuple[LinearLayer, CodebookWeight]]:
    """The layers whose weights come out of codebooks."""
    found = ((layer, codebook_weight(layer.weight)) for layer in linear_layers(model))
    return [(layer, weight) for layer, weight in found if weight is not None]


def _codebook(name: str, weight: CodebookWeight) -> dict[str, object]:
    size_bytes = weight.packed.values.nbytes + weight.book.values.nbytes
    return {"layer": name, "weights": weight.values.size, "bits": round(weight.bits), "size_bytes": size_bytes}


def _told(codebooks: list[dict]) -> str:
    """A line for all codebooks: how many layers, and their bits."""
    total = sum(each["weights"] for each in codebooks)
    average = sum(each["bits"] * each["weights"] for each in codebooks) / total
    layers = ", ".join(f"{each['layer']} {each['bits']}" for each in codebooks)
    number = "1 layer" if len(codebooks) == 1 else f"{len(codebooks)} layers"
    return f"codebooks: {number}, {average:.2f} bits a weight on average ({layers})"


def _group(group: Group) -> dict[str, object]:
    return {
        "name": group.name,
        "channels": group.size,
        "producers": list(group.producers),
        "consumers": list(group.consumers),
        "members": [
            {"tensor": m.tensor, "axis": m.axis, "per_channel": int(m.positions.shape[1])} for m in group.members
        ],
        "pins": [{"node": p.node, "reason": p.reason} for p in group.pins],
    }


def _table(groups: list[dict]):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("group", overflow="fold")
    for heading in ("channels", "producers", "consumers"):
        table.add_column(heading, justify="right")
    table.add_column("pinned by", overflow="fold")
    for g in groups:
        pins = "; ".join(f"{p['node']}: {p['reason']}" for p in g["pins"])
        cells = (g["name"], g["channels"], len(g["producers"]), len(g["consumers"]), pins)
        table.add_row(*(Text(visible(c)) for c in cells))
    return table
