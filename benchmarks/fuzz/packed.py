"""Cases of damaged packed models: bytes, and under a hash that fits also parts, sizes and the directory."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, numpy_helper

from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.damage import damaged
from benchmarks.fuzz.texts import changed_json
from benchmarks.fuzz.uses import plan, use

_WHOLE = "m.pfir"


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A damaged packed model, and a command on it."""
    content, model = _packed(rng, base)
    changed, note = _changed(rng, content)
    (folder / _WHOLE).write_bytes(changed)
    if chance(rng, 0.2):
        return use(rng, _WHOLE, note) if chance(rng, 0.95) else plan(rng, _WHOLE, note)
    law = partial(_unpacked, model, changed == content)
    return Case(("unpack", _WHOLE, "-o", "out.onnx"), note, law)


def _packed(rng: np.random.Generator, base: Base) -> tuple[bytes, bytes]:
    """A packed model, and the model: mostly one whose tensors have many forms."""
    from pfir.packing.packing import pack_model

    model = pick(rng, base.models["families"]) if chance(rng, 0.1) else _of_forms(rng)
    return pack_model(model), model


def _of_forms(rng: np.random.Generator) -> bytes:
    arrays = [pick(rng, _FORMS)(rng, int(rng.integers(130, 4000))) for _ in range(int(rng.integers(1, 6)))]
    tensors = [numpy_helper.from_array(array, f"w{place}") for place, array in enumerate(arrays)]
    return ModelProto(graph=GraphProto(name="g", initializer=tensors)).SerializeToString()


def _floats(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count).astype(np.float32)


def _halves(rng: np.random.Generator, count: int) -> np.ndarray:
    return _floats(rng, count).astype(np.float16).astype(np.float32)


def _whole(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(-100, 100, count).astype(np.float32)


def _eight(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(-4, 4, 4 * count).astype(np.int8)


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    return _floats(rng, 16)[rng.integers(0, int(rng.integers(1, 16)), count)]


def _sparse(rng: np.random.Generator, count: int) -> np.ndarray:
    values = pick(rng, (_floats, _halves, _palette))(rng, count)
    return np.where(rng.random(count) < pick(rng, (0.5, 0.1, 0.01)), values, np.float32(0))


def _skewed(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(3, 8 * count, p=(0.9, 0.07, 0.03)).astype(np.int8)


_FORMS = (_floats, _halves, _whole, _eight, _palette, _sparse, _sparse, _skewed, _skewed)


def _changed(rng: np.random.Generator, content: bytes) -> tuple[bytes, str]:
    """The content with some damage, and where it was done."""
    from pfir.packing.unpacking import HASH_BYTES

    where = pick(rng, ("nowhere", "bytes", "bytes", "signed", "signed", "directory", "directory", "directory"))
    if where == "nowhere":
        return content, where
    if where == "bytes":
        return damaged(rng, content), where
    inner = content[:-HASH_BYTES]
    inner = damaged(rng, inner, 2) if where == "signed" else _with_directory(rng, inner)
    return inner + hashlib.sha256(inner).digest(), where


def _with_directory(rng: np.random.Generator, content: bytes) -> bytes:
    """The content with a directory that says something else, of the same streams."""
    from pfir.packing import codecs
    from pfir.packing.unpacking import HEADER

    magic, version, packed, size = HEADER.unpack_from(content)
    text = codecs.decompress(codecs.ZSTD, content[HEADER.size : HEADER.size + packed], size)
    changed = _exchanged(rng, text) if chance(rng, 0.4) else changed_json(rng, text.decode())
    again = codecs.zstd(changed)
    return HEADER.pack(magic, version, len(again), len(changed)) + again + content[HEADER.size + packed :]


def _exchanged(rng: np.random.Generator, text: bytes) -> bytes:
    """Tensors in another order, or in forms of others: sizes that still hang together, as random ones seldom do."""
    content = json.loads(text)
    rows, streams = content["files"][0][3], content["streams"]
    listed = rows if chance(rng, 0.5) else streams
    if len(listed) > 1:
        one, other = rng.choice(len(listed), 2, replace=False)
        listed[one], listed[other] = listed[other], listed[one]
    if rows and chance(rng, 0.5):
        row = pick(rng, rows)
        place = pick(rng, (3, 4, 6, 7))
        row[place] = pick(
            rng, ([], [], [], ["all", "bitmap", "gaps"], _VALUES, [], [0, 1, 255, 256], [0, 1, 2, 9])[place]
        )
    return json.dumps(content).encode()


_VALUES = ["plain", "planes", "half", "small", "palette"]


def _unpacked(model: bytes, whole: bool, code: int) -> str | None:
    """What was not damaged comes back; a refusal writes nothing; what is written in spite of damage is the model."""
    written = Path("out.onnx")
    if code != 0:
        return "an output in spite of a failure" if written.exists() else "a whole file refused" if whole else None
    return None if written.read_bytes() == model else "a damaged file gave another model"
