"""The backend of ONNX Runtime: the compressed ONNX is the library."""

from __future__ import annotations

from pfir.artifact import Artifact
from pfir.backends.base import Backend
from pfir.backends.ort.host import OrtHost
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.errors import CompileError, UsageError
from pfir.ir.model import Model
from pfir.target import FLOAT32, Target

__all__ = ["OrtBackend", "OrtHost"]

LIBRARY = "model.onnx"


class OrtBackend(Backend):
    """Delivers ONNX for ONNX Runtime on any target; what ONNX Runtime itself runs, it takes."""

    name = "ort"
    library = LIBRARY
    arithmetics = (FLOAT32,)
    tunes = False
    is_onnxruntime = True

    def check(self, model: Model) -> None:
        from pfir.backends.ort.session import open_session

        open_session(_bytes(model), threads=1)

    def device(self, url: str | None, target: Target) -> Device:
        if url is None:
            return open_device(url, target)
        if url != "host":
            text = f"--device {url} runs libraries of the tvm backend; --backend ort knows the device host only"
            raise UsageError(text)
        return OrtHost(target.threads)

    def build(self, model: Model, target: Target) -> Artifact:
        self.check(model)
        files = {LIBRARY: _bytes(model)}
        found = self.kernels(model, target)
        return Artifact(self.name, target, files, LIBRARY, model.inputs(), model.outputs(), found)


def _bytes(model: Model) -> bytes:
    """One file with all weights inside; a model's own bytes may point to weights beside them."""
    try:
        return model.to_proto().SerializeToString()
    except ValueError as error:  # protobuf's limit
        raise CompileError(f"{model.name}: above 2 GiB, which ONNX Runtime does not take as one file") from error
