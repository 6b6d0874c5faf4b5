"""The TVM backend behind the contract that every backend keeps."""

from __future__ import annotations

from importlib.metadata import version

from pfir.artifact import SLOW_KERNELS, Artifact, Kernel
from pfir.backends.base import Backend
from pfir.backends.tvm import store
from pfir.backends.tvm.build import build
from pfir.backends.tvm.lower import lower, sketch
from pfir.ir.cost import kernels
from pfir.ir.model import Model
from pfir.target import Target, parse_target

LIBRARY = "model.so"


class TvmBackend(Backend):
    """ONNX to a shared library of our own kernels, for x86-64, aarch64 and armv7 Linux."""

    name = "tvm"

    def check(self, model: Model) -> None:
        sketch(model, parse_target("arm"))

    def kernels(self, model: Model, target: Target) -> tuple[Kernel, ...]:
        return kernels(model)

    def build(self, model: Model, target: Target) -> Artifact:
        name = store.key(model, target)
        found = store.find(name)
        if found is None:
            module, slow = lower(model, target)
            found = build(module, target), slow
            store.keep(name, *found)
        library, slow = found
        notes = {"tvm": version("apache-tvm"), "llvm_target": f"{target.triple} {target.cpu}".strip()}
        if slow:
            notes[SLOW_KERNELS] = ", ".join(slow)
        return Artifact(
            self.name, target, {LIBRARY: library}, LIBRARY, model.inputs(), model.outputs(), kernels(model), notes
        )
