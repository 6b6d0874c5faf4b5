"""Cases of damaged recipes: the text, the weights beside it, the model that they are for."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.damage import damaged
from benchmarks.fuzz.texts import changed_json

WHOLE = 0.004
"""Of these cases, which are replayed to the end; the others stop once the recipe is read."""


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A recipe with something changed, and a command that replays it."""
    shutil.copytree(base.folder / "done", folder / "done")
    note = pick(rng, _CHANGES)(rng, folder / "done")
    words = [
        "compile",
        str(base.folder / "net.onnx"),
        "--target",
        "host",
        "--backend",
        "ort",
        "--size",
        "1.5x",
        "--jobs",
        "1",
    ]
    words += [
        "--data",
        str(base.folder / "data.npz"),
        "--epochs",
        "0",
        "--trials",
        "1",
        "--recipe",
        "done/recipe.json",
        "-o",
        "out",
    ]
    whole = chance(rng, WHOLE)
    if chance(rng, 0.1):
        words.append("--retrain")
    return Case(
        tuple(words if whole else [*words, "--dry-run"]),
        f"{note}{', whole' if whole else ''}",
        _loaded if chance(rng, 0.5) else None,
    )


def _loaded(code: int) -> str | None:
    """The parts of replaying that a plan leaves out: weights and removal, read as they are for a replay."""
    from pfir.errors import PfirError
    from pfir.recipe import read_recipe, read_weights

    path = Path("done/recipe.json")
    try:
        arrays = read_weights(path, read_recipe(path))
        return None if all(isinstance(a, np.ndarray) for a in arrays.values()) else "weights that are no arrays"
    except PfirError:
        return None


def _text(rng: np.random.Generator, place: Path) -> str:
    path = place / "recipe.json"
    path.write_bytes(changed_json(rng, path.read_text()))
    return "recipe.json"


def _removed(rng: np.random.Generator, place: Path) -> str:
    """Other channels, other groups."""
    content = json.loads((place / "recipe.json").read_text())
    removed = content["removed"]
    names = list(removed) or ["Conv_1"]
    odd = (
        [-1],
        [0, 0],
        [10**6],
        ["a"],
        [1.5],
        [None],
        [2**70],
        [],
        list(range(500)),
        "012",
        {"0": 1},
        7,
        [True, False],
    )
    removed[pick(rng, (*names, *names, "nowhere", ""))] = pick(rng, odd)
    (place / "recipe.json").write_text(json.dumps(content))
    return "removed channels"


def _weights(rng: np.random.Generator, place: Path) -> str:
    """Weights damaged; mostly the recipe vouches for them all the same."""
    content = pick(rng, (_damaged_weights, _other_weights))(rng, (place / "weights.npz").read_bytes())
    (place / "weights.npz").write_bytes(content)
    if chance(rng, 0.85):
        _vouch(place, content)
    return "weights.npz"


def _damaged_weights(rng: np.random.Generator, content: bytes) -> bytes:
    return damaged(rng, content) if chance(rng, 0.5) else damaged(rng, content[:400]) + content[400:]


def _other_weights(rng: np.random.Generator, content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    name = pick(rng, list(arrays))
    array = arrays[name]
    arrays[name] = pick(
        rng,
        (
            array[:0],
            array.astype(np.float64),
            array.reshape(-1),
            array.astype("U4"),
            np.array(3),
            np.full_like(array, 255),
            array.astype(np.complex64),
        ),
    )
    if chance(rng, 0.3):
        del arrays[pick(rng, list(arrays))]
    if chance(rng, 0.1):
        arrays["names"] = np.frombuffer(pick(rng, (b"[", b"{}", b"[1, 2]", b"null", b"\xff", b"[" * 9000)), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _vouch(place: Path, content: bytes) -> None:
    path = place / "recipe.json"
    recipe = json.loads(path.read_text())
    recipe["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(recipe))


def _place(rng: np.random.Generator, place: Path) -> str:
    """Files that are missing, folders, links or cut off."""
    path = place / pick(rng, ("recipe.json", "weights.npz"))
    how = pick(rng, ("missing", "folder", "link", "empty", "loop"))
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how in ("link", "loop"):
        path.symlink_to("/dev/null" if how == "link" else path.name)
    elif how == "empty":
        path.touch()
    return f"{path.name} {how}"


_CHANGES = (_text,) * 6 + (_removed,) * 2 + (_weights,) * 4 + (_place,)
