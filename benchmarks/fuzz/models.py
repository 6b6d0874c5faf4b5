"""Cases of damaged models: bytes, fields, contradictions, alone or together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto

from benchmarks.fuzz.case import Base, Case, Make, chance, pick
from benchmarks.fuzz.contradictions import contradict, texts
from benchmarks.fuzz.damage import damaged
from benchmarks.fuzz.fields import change_a_field
from benchmarks.fuzz.uses import plan, use


def from_models(of: str, planned: bool = False) -> Make:
    """Cases that start from the base's models of this kind; whether compile plans with them, or the rest is tried."""

    def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
        content, note = _changed(rng, pick(rng, base.models[of]), folder)
        (folder / "m.onnx").write_bytes(content)
        return plan(rng, "m.onnx", note) if planned else use(rng, "m.onnx", note)

    return make


def _changed(rng: np.random.Generator, content: bytes, folder: Path) -> tuple[bytes, str]:
    notes = []
    if not chance(rng, 0.12):
        model = ModelProto.FromString(content)
        for _ in range(pick(rng, (0, 1, 1, 1, 2, 3))):
            chosen = chance(rng, 0.7)
            notes.append(contradict(rng, model, folder) if chosen else change_a_field(rng, model, texts(model)))
        content = _serialized(model, content)
    if not notes or chance(rng, 0.05):
        notes.append("bytes")
        content = damaged(rng, content)
    return content, ", ".join(notes)


def _serialized(model: ModelProto, before: bytes) -> bytes:
    try:
        return model.SerializeToString()
    except (ValueError, DecodeError):  # text that is no UTF-8
        return before
