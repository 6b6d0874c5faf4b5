"""The TVM backend behind the contract that every backend keeps."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from pfir.artifact import SLOW_KERNELS, Artifact, Kernel
from pfir.backends.base import Backend, Tunable
from pfir.backends.tvm import store
from pfir.backends.tvm.build import build
from pfir.backends.tvm.database import known
from pfir.backends.tvm.lower import lower, sketch
from pfir.backends.tvm.tunable import tunables
from pfir.ir.cost import kernels
from pfir.ir.model import Model
from pfir.target import Target, parse_target

LIBRARY = "model.so"


class TvmBackend(Backend):
    """ONNX to a shared library of our own kernels, for x86-64, aarch64 and armv7 Linux.

    Args:
        measured: A database of measured kernels to build by, instead of the user's own.
    """

    name = "tvm"

    def __init__(self, measured: Path | None = None) -> None:
        self._measured = measured

    def check(self, model: Model) -> None:
        sketch(model, parse_target("arm"))

    def kernels(self, model: Model, target: Target) -> tuple[Kernel, ...]:
        return kernels(model)

    def tunables(self, model: Model, target: Target) -> tuple[Tunable, ...]:
        return tunables(model, target)

    def build(self, model: Model, target: Target) -> Artifact:
        measured = known(target, self._measured)
        name = store.key(model, target, str(measured))
        found = store.find(name)
        if found is None:
            module, slow = lower(model, target, measured)
            found = build(module, target), slow
            store.keep(name, *found)
        library, slow = found
        notes = {"tvm": version("apache-tvm"), "llvm_target": f"{target.triple} {target.cpu}".strip(),
                 "arithmetic": target.computes}  # fmt: skip
        if slow:
            notes[SLOW_KERNELS] = ", ".join(slow)
        return Artifact(
            self.name, target, {LIBRARY: library}, LIBRARY, model.inputs(), model.outputs(), kernels(model), notes
        )
