"""What people call a node of a torch export: the path of the module that it came from, as in `layer1.0.conv2`.

torch.onnx notes on each node the modules around it, from the outermost to the node itself, and calls it `node_Conv_72`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import zip_longest

import onnx_graphsurgeon as gs

from pfir.ir.costs.symbolic_cost import CONTRACTIONS
from pfir.ir.onnx_io.metadata import metadata_of

_SCOPES, _NAMESPACE = "pkg.torch.onnx.name_scopes", "namespace"
_WEIGHT = ".weight"
_LONGEST = 4096


def name_by_modules(graph: gs.Graph) -> None:
    """Call nodes by the module that their metadata tell, where their own name says nothing of it.

    The layer of a module has the module's path; what else is in there gets its old name behind it. The metadata
    keep the old name, which is written to files.
    """
    nodes = _nodes(graph)
    taken = {node.name for node in nodes}
    for path, found in _by_path(nodes).items():
        owner = _owner(found)
        for node in found:
            name = path if node is owner else f"{path}/{node.name}"
            if not re.search(r"[./]", node.name) and name not in taken:
                taken.add(name)
                metadata_of(node).name, node.name = node.name, name


def names_meant(graph: gs.Graph, name: str) -> tuple[str, ...]:
    """The names of the nodes that a user means: by the name that they have here or in the file, or by a module around.

    Empty where nothing is called so.
    """
    nodes = _nodes(graph)
    exact = [n.name for n in nodes if name in (n.name, _written(n))]
    inside = [n.name for n in nodes if _written(n) and (path := _path(n)) and f"{path}.".startswith(f"{name}.")]
    scopes = [n.name for n in nodes if name and name in (_scope(n) if _written(n) else "", _from_slashes(n.name))]
    return tuple(dict.fromkeys((*exact, *inside, *scopes)))


def _nodes(graph: gs.Graph) -> list[gs.Node]:
    return [node for each in (graph, *graph.subgraphs(recursive=True)) for node in each.nodes]


def _written(node: gs.Node) -> str:
    """The name that a node has in its file, if it is another one than here."""
    metadata = metadata_of(node)
    return "" if metadata is None else metadata.name


def _by_path(nodes: list[gs.Node]) -> dict[str, list[gs.Node]]:
    found: dict[str, list[gs.Node]] = defaultdict(list)
    for node in nodes:
        path = _path(node)
        if path:
            found[path].append(node)
    return found


def _owner(nodes: list[gs.Node]) -> gs.Node | None:
    """The only layer in a module."""
    layers = [n for n in nodes if n.op in CONTRACTIONS and any(isinstance(t, gs.Constant) for t in n.inputs)]
    found = layers or [n for n in nodes if _weights(n)]
    return found[0] if len(found) == 1 else None


def _path(node: gs.Node) -> str:
    """The module of a node, that of its weight where it has one: a convolution that took in a norm says the norm's."""
    scope = _scope(node)
    if scope is None:
        return ""
    return next(iter(_weights(node)), scope)


def _weights(node: gs.Node) -> list[str]:
    """The modules whose weights a node reads."""
    names = [t.name for t in node.inputs if isinstance(t, gs.Constant)]
    return [name.removesuffix(_WEIGHT) for name in names if name.endswith(_WEIGHT)]


def _from_slashes(name: str) -> str:
    """The module of `/layer1/layer1.0/conv2/Conv`, as torch's older exporter writes it: `layer1.0.conv2`."""
    parts = name.split("/")[1:-1]
    return ".".join(a for a, b in zip_longest(parts, parts[1:], fillvalue="") if not b.startswith(f"{a}."))


def _scope(node: gs.Node) -> str | None:
    """The innermost module that the metadata name; "" is the model itself."""
    metadata = metadata_of(node)
    notes = {} if metadata is None else {p.key: p.value for p in metadata.metadata_props if len(p.value) <= _LONGEST}
    if _SCOPES in notes:
        scopes = re.findall(r"'([^']*)'", notes[_SCOPES])
    else:
        scopes = re.findall(r"(?:^|/)([^/:]*): ", notes.get(_NAMESPACE, ""))
    return scopes[-2] if len(scopes) > 1 else None
