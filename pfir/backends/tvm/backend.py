"""The TVM backend behind the contract that every backend keeps."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from pfir.artifact import SLOW_KERNELS, Artifact, Kernel, Tuning
from pfir.backends.base import Backend, Tunable
from pfir.backends.tvm.library import store
from pfir.backends.tvm.library.build import build
from pfir.backends.tvm.lowering.lower import lower, sketch
from pfir.backends.tvm.tuning.database import databases, known, read
from pfir.backends.tvm.tuning.tunable import tunables, tuning
from pfir.ir.costs.model_cost import kernels
from pfir.ir.model import Model
from pfir.target import Target, parse_target

LIBRARY = "model.so"


class TvmBackend(Backend):
    """ONNX to a shared library of our own kernels, for x86-64, aarch64 and armv7 Linux.

    Args:
        tuned: A database of measured kernels to build by instead of the user's own; `none` is neither that nor what
            ships.
        note: Told what a user should know of a build, a line each; None tells nobody.

    Raises:
        UsageError: It is no such database.
    """

    name = "tvm"

    def __init__(self, tuned: str | Path | None = None, note: Callable[[str], None] | None = None) -> None:
        self._tuned, self._note = tuned, note
        for _, path in databases(tuned):
            read(path)

    def check(self, model: Model) -> None:
        sketch(model, parse_target("arm"))

    def kernels(self, model: Model, target: Target) -> tuple[Kernel, ...]:
        return kernels(model)

    def tunables(self, model: Model, target: Target) -> tuple[Tunable, ...]:
        return tunables(model, target)

    def tuning(self, model: Model, target: Target) -> Tuning:
        return tuning(model, target, known(target, self._tuned))

    def build(self, model: Model, target: Target) -> Artifact:
        measured = known(target, self._tuned)
        name = store.key(model, target, str(measured))
        found = store.find(name, self._note)
        if found is None:
            module, slow = lower(model, target, measured)
            found = build(module, target), slow
            store.keep(name, *found)
        library, slow = found
        notes = {
            "tvm": version("apache-tvm"),
            "llvm_target": f"{target.triple} {target.cpu}".strip(),
            "arithmetic": target.computes,
        }
        if slow:
            notes[SLOW_KERNELS] = ", ".join(slow)
        return Artifact(
            self.name, target, {LIBRARY: library}, LIBRARY, model.inputs(), model.outputs(), kernels(model), notes
        )
