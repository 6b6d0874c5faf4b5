"""Activations on one data set, each tensor computed once for as long as nothing before it changes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.data.base import Dataset
from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.run.activations import activations, expose
from pfir.run.session import Session

MOST_BYTES = 256 << 20

Key = bytes
"""A hash of what decides a tensor's value."""
Batches = list[np.ndarray]


class Memo:
    """Called like `activations`, with a model and names; what the same nodes made of the same weights before is kept.

    A tensor is known by what computes it: operators, attributes and weights all the way up to the inputs. A model whose
    weights change layer by layer is so run from where it changed, and clones share what they have in common.

    Args:
        dataset: What the models are fed.
        batch: Samples in one run.
        most_bytes: What is kept at most; the tensors longest unused go first.
    """

    def __init__(self, dataset: Dataset, batch: int, most_bytes: int = MOST_BYTES) -> None:
        self._dataset, self._batch, self._most_bytes = dataset, batch, most_bytes
        self._kept: OrderedDict[Key, Batches] = OrderedDict()
        self._bytes = 0
        self._held: dict[int, object] = {}

    def __call__(self, model: Model, names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
        """The named tensors for the samples in order, as `activations` gives them.

        Raises:
            UsageError: The model has no such tensor.
        """
        if not _separable(model.graph):
            yield from activations(model, names, self._dataset, self._batch)
            return
        part = _Part(model, self._keys(model.graph), names, self._kept)
        fresh: dict[str, Batches] = {name: [] for name in part.missing}
        for number, start in enumerate(range(0, len(self._dataset), self._batch)):
            feeds = self._dataset.batch(np.arange(start, min(start + self._batch, len(self._dataset))))
            values = part.run(feeds, number)
            self._note(fresh, values, len(next(iter(feeds.values()))))
            yield {name: values[name] for name in names}
        for name, batches in fresh.items():
            self._keep(part.keys[name], batches)
        for key in part.used:
            if key in self._kept:
                self._kept.move_to_end(key)

    def _note(self, fresh: dict[str, Batches], values: dict[str, np.ndarray], count: int) -> None:
        """Lay by what was computed; what has no sample axis, or would not fit, is not."""
        for name in list(fresh):
            fresh[name].append(values[name])
            size = values[name].nbytes * -(-len(self._dataset) // self._batch)
            if values[name].ndim == 0 or len(values[name]) != count or size > self._most_bytes // 2:
                del fresh[name]

    def _keep(self, key: Key, batches: Batches) -> None:
        if key in self._kept:
            return
        self._bytes += sum(x.nbytes for x in batches)
        self._kept[key] = batches
        while self._bytes > self._most_bytes:
            _, old = self._kept.popitem(last=False)
            self._bytes -= sum(x.nbytes for x in old)

    def _keys(self, graph: gs.Graph) -> dict[str, Key]:
        """Tensor name to its key."""
        keys = {t.name: _key("input", t.name) for t in graph.inputs}
        for node in graph.nodes:
            sources = [self._source(t, keys) for t in node.inputs]
            attributes = [self._attribute(name, value) for name, value in sorted(node.attrs.items())]
            made = _key(node.domain, node.op, sources, attributes)
            keys |= {t.name: _key(made, place) for place, t in enumerate(node.outputs) if t.name}
        return keys

    def _source(self, tensor: gs.Tensor, keys: dict[str, Key]) -> object:
        if isinstance(tensor, gs.Constant):
            return self._identity(tensor.values)
        return "" if tensor.is_empty() else keys.get(tensor.name) or self._identity(object())

    def _attribute(self, name: str, value: object) -> object:
        if isinstance(value, int | float | str | bytes | list | tuple):
            return name, value
        return name, self._identity(value.values if isinstance(value, gs.Constant) else value)

    def _identity(self, value: object) -> int:
        """A number of this very object; it is held, so that no other takes its place in memory."""
        self._held[id(value)] = value
        return id(value)


def _separable(graph: gs.Graph) -> bool:
    """Whether a part of the graph may run alone: bodies take tensors from outside that are nobody's input, and ONNX
    Runtime's own fused operators lay out data as their neighbours do."""
    return not any(True for _ in graph.subgraphs()) and all(n.domain in (None, "", "ai.onnx") for n in graph.nodes)


def _key(*parts: object) -> Key:
    return hashlib.sha256(repr(parts).encode()).digest()


class _Part:
    """What of a model has to run for some tensors, from the inputs or from what is known.

    Attributes:
        keys: Of the model's tensors.
        missing: The names that are computed.
        used: Keys of what was known.
    """

    def __init__(self, model: Model, keys: dict[str, Key], names: Sequence[str], kept: dict[Key, Batches]) -> None:
        copy = model.clone()
        tensors = copy.graph.tensors()
        for name in names:
            if name not in tensors:
                raise UsageError(f"tensor {name}: the model {model.name} has none of this name")
        fed = {t.name for t in copy.graph.inputs}
        self.keys, self._names = keys, names
        self._constant = {n: tensors[n].values for n in names if isinstance(tensors[n], gs.Constant)}
        asked = [n for n in dict.fromkeys(names) if n not in fed and n not in self._constant]
        self._known = {n: kept[keys[n]] for n in asked if keys[n] in kept}
        self.missing = [n for n in asked if n not in self._known]
        self._start = {} if not self.missing else _cut(copy, [tensors[n] for n in self.missing], keys, kept)
        self._session = Session(copy) if self.missing else None
        self.used = [keys[n] for n in (*self._known, *self._start)]

    def run(self, feeds: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
        """All named tensors of one batch."""
        values = {**feeds, **self._constant, **{n: x[number] for n, x in self._known.items()}}
        if self._session is not None:
            given = {**feeds, **{n: x[number] for n, x in self._start.items()}}
            taken = {spec.name for spec in self._session.inputs}
            values |= self._session.predict({name: x for name, x in given.items() if name in taken})
        return values


def _cut(copy: Model, wanted: list[gs.Tensor], keys: dict[str, Key], kept: dict[Key, Batches]) -> dict[str, Batches]:
    """Reduce a model to what leads from known tensors to the wanted ones; the known tensors by name."""
    graph, start = copy.graph, {}
    free = {t.shape[0] for t in graph.inputs if t.shape}
    waiting, seen = list(wanted), set()
    while waiting:
        tensor = waiting.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        batches = kept.get(keys.get(tensor.name, b""))
        if batches is not None and tensor.shape and len(free) == 1 and tensor.shape[0] in free:
            start[tensor.name] = batches
            tensor.inputs.clear()
            tensor.dtype = batches[0].dtype
            graph.inputs.append(tensor)
            continue
        waiting += [t for node in tensor.inputs for t in node.inputs if not isinstance(t, gs.Constant)]
    expose(graph, wanted)
    graph.cleanup(remove_unused_graph_inputs=True)
    return start
