"""The kinds of cases, and how many there are of each."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.fuzz import bombs, caches, commands, data, graphs, packed, recipes
from benchmarks.fuzz.case import Make
from benchmarks.fuzz.models import from_models


@dataclass(frozen=True)
class Kind:
    """A kind of cases.

    Args:
        make: Makes one.
        share: Of all cases.
        what: For the reader of the results.
        heavy: Whether cases need TVM or the optimizers of the search, which make forking slow.
    """

    make: Make
    share: float
    what: str
    heavy: bool = False


KINDS = {
    "families": Kind(from_models("families"), 0.24, "small networks of the tests' structure families, damaged"),
    "nodes": Kind(from_models("nodes"), 0.14, "ONNX's test models of single operators, damaged"),
    "files": Kind(from_models("files"), 0.05, "ONNX's test models of layers and graphs, damaged"),
    "graphs": Kind(graphs.make, 0.15, "random graphs of ONNX's operators"),
    "bombs": Kind(bombs.make, 0.03, "small models that stand for a lot of memory, time, nodes or depth"),
    "packed": Kind(packed.make, 0.04, "packed models, damaged, half of them under a hash that fits"),
    "data": Kind(data.make, 0.14, "damaged arrays, archives, images, folders, functions"),
    "caches": Kind(caches.make, 0.1, "damaged databases, libraries, journals, checkpoints, interrupted runs", True),
    "recipes": Kind(recipes.make, 0.05, "damaged recipes and weights", True),
    "commands": Kind(commands.make, 0.05, "command lines with typical mistakes", True),
    "plans": Kind(from_models("families", planned=True), 0.01, "compile's plan of damaged networks", True),
}


def counts(total: int, kinds: list[str]) -> dict[str, int]:
    """Cases of each kind; all of them where there is one kind."""
    whole = sum(KINDS[kind].share for kind in kinds)
    return {kind: round(total * KINDS[kind].share / whole) for kind in kinds}
