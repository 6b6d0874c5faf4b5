"""Models of other frameworks, told from what a file or folder holds, each with the lines that export it to ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LIST_BYTES = 1 << 20
"""Of the end of a zip archive that are looked at: its list of names takes about a hundred for each."""
_SAVED_MODEL = "saved_model.pb"
# What PyTorch writes before its zip files: a pickle of the number 0x1950a86a20f9469cfc6c.
_OLD_TORCH = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_EXPORT = 'torch.onnx.export(model.eval(), (torch.randn(1, 3, 224, 224),), "model.onnx", dynamo=True)'
_TF2ONNX = "pip install tf2onnx"


@dataclass(frozen=True)
class Foreign:
    """What a file is, and what to do.

    Args:
        words: What it is, as in "FILE is ...".
        export: Lines to copy.
    """

    words: str
    export: tuple[str, ...] = ()


# Sources: docs.pytorch.org/docs/stable/onnx.html, keras.io/api/models/model_saving_apis/export, README.md of
# github.com/onnx/tensorflow-onnx and of github.com/huggingface/safetensors.
def _torch(path: Path) -> Foreign:
    read = f'model = MyModel(); model.load_state_dict(torch.load("{path.name}"))'
    words = "a PyTorch file, which pfir never opens; export it to ONNX in Python (MyModel: its class when trained):"
    return Foreign(words, (read, _EXPORT))


def _torchscript(path: Path) -> Foreign:
    return Foreign(
        "a TorchScript archive; export the model that it was made from to ONNX, or this in Python:",
        (
            f'model = torch.jit.load("{path.name}").eval()',
            'torch.onnx.export(model, (torch.randn(1, 3, 224, 224),), "model.onnx", dynamo=False)',
        ),
    )


def _torch_program(path: Path) -> Foreign:
    return Foreign(
        "a program of torch.export; export it to ONNX in Python:",
        (f'program = torch.export.load("{path.name}")', 'torch.onnx.export(program, f="model.onnx", dynamo=True)'),
    )


def _keras(path: Path) -> Foreign:
    return Foreign(
        "a Keras model; export it to ONNX in Python:",
        (f'model = keras.models.load_model("{path.name}")', 'model.export("model.onnx", format="onnx")'),
    )


def _hdf5(path: Path) -> Foreign:
    found = _keras(path)
    return Foreign("an HDF5 file, as Keras writes them; export it to ONNX in Python:", found.export)


def _saved_model(path: Path) -> Foreign:
    folder = path if path.is_dir() else path.parent
    command = f"python -m tf2onnx.convert --saved-model {folder} --output model.onnx"
    return Foreign("a TensorFlow SavedModel; export it to ONNX in a shell:", (_TF2ONNX, command))


def _frozen(path: Path) -> Foreign:
    command = f"python -m tf2onnx.convert --graphdef {path.name} --inputs IN:0 --outputs OUT:0 --output model.onnx"
    return Foreign("a TensorFlow graph; export it to ONNX in a shell:", (_TF2ONNX, command))


def _lite(path: Path) -> Foreign:
    command = f"python -m tf2onnx.convert --tflite {path.name} --output model.onnx"
    return Foreign("a TensorFlow Lite model; convert it to ONNX in a shell:", (_TF2ONNX, command))


def _safetensors(path: Path) -> Foreign:
    read = f'model = MyModel(); model.load_state_dict(safetensors.torch.load_file("{path.name}"))'
    return Foreign("a safetensors file, weights without a graph; export the model to ONNX in Python:", (read, _EXPORT))


def _as(words: str) -> Callable[[Path], Foreign]:
    return lambda _: Foreign(words)


_ARCHIVE = _as("a zip archive, no ONNX model; unpack it, and name the .onnx file in it")
_ORT = _as("a model in ONNX Runtime's own format; use the ONNX file that it was made from")
_CORE_ML = _as("a Core ML model, which nothing exports to ONNX; use the model that it was made from")
_BESIDE = _as("the weights that lie beside an ONNX model; name the .onnx file that belongs to them")
_HEADS: tuple[tuple[int, bytes, Callable[[Path], Foreign]], ...] = (
    (4, b"TFL3", _lite),
    (4, b"ORTM", _ORT),
    (0, b"\x89HDF", _hdf5),
    (0, b"GGUF", _as("a GGUF file, quantized weights of a language model without a graph; pfir reads ONNX")),
)
_ENDINGS: tuple[tuple[str, Callable[[Path], Foreign]], ...] = (
    (_SAVED_MODEL, _saved_model),
    (".onnx.data", _BESIDE),
    (".onnx_data", _BESIDE),
    (".pb", _frozen),
    (".mlmodel", _CORE_ML),
    (".mlpackage", _CORE_ML),
    (".pdmodel", _as("a PaddlePaddle model; convert it with `paddle2onnx`")),
    (".caffemodel", _as("a Caffe model; pfir reads ONNX")),
    (".data", _BESIDE),
)


def foreign_folder(path: Path) -> Foreign | None:
    """What a folder is that was given as a model; None where nothing in it tells."""
    if (path / _SAVED_MODEL).is_file():
        return _saved_model(path)
    return _CORE_ML(path) if path.suffix == ".mlpackage" else None


def foreign_file(path: Path, head: bytes) -> Foreign | None:
    """What a file is that cannot be an ONNX model, by its first bytes; None where they are none of these."""
    for offset, magic, known in _HEADS:
        if head[offset : offset + len(magic)] == magic:
            return known(path)
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return _pickle(path, head)
    return _safetensors(path) if _is_safetensors(head) else None


def foreign_name(path: Path) -> Foreign | None:
    """What a file is by its name, where its content could be read as a damaged ONNX model, too."""
    name = path.name.lower()
    return next((known(path) for ending, known in _ENDINGS if name.endswith(ending)), None)


def _archive(path: Path) -> Foreign:
    listed = _end(path)
    if b"model.weights.h5" in listed and b"config.json" in listed:
        return _keras(path)
    if b"/code/" in listed and b"data.pkl" in listed:
        return _torchscript(path)
    if b"archive_format" in listed or b"serialized_exported_program.json" in listed:
        return _torch_program(path)
    return _torch(path) if b"data.pkl" in listed else _ARCHIVE(path)


def _end(path: Path) -> bytes:
    """The last part of a zip archive, where its list of names stands; it is never unpacked."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LIST_BYTES))
        return file.read(LIST_BYTES)


def _pickle(path: Path, head: bytes) -> Foreign:
    if _OLD_TORCH in head[:32] or path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
        return _torch(path)
    return Foreign("a Python pickle, which pfir never opens; export the model that it holds to ONNX")


def _is_safetensors(head: bytes) -> bool:
    """Whether it begins with the length of a header, then a header of JSON."""
    return head[8:10] in (b'{"', b"{}") and 2 <= int.from_bytes(head[:8], "little") < 1 << 32
