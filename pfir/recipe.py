"""What a compilation chose, replayable: which channels went, which training followed, which weights came out."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pfir.artifact import Database, Tuning
from pfir.errors import UsageError
from pfir.target import ARITHMETICS, FLOAT32

RECIPE = "recipe.json"
WEIGHTS = "weights.npz"
QUANTIZED = "quantized"
"""The key of how the result was quantized, which comes behind all other methods."""
CODEBOOKS = "codebooks"
"""The key of how the result got codebooks, likewise."""
ZEROS = "zeros"
"""The key of the pass that made weights zero behind the channels."""
FORMAT = 1


@dataclass(frozen=True)
class Recipe:
    """Enough to make the same model again from the same original.

    Args:
        model_sha256: Of the original file.
        parts: What each compressing method did, by key: of pruning, group name to channels under "removed", and how
            the result was quantized under `QUANTIZED`, or got codebooks under `CODEBOOKS` and zeros under `ZEROS`.
        passes: The passes' texts, for the reader.
        training: Settings of the fine-tuning, empty if there was none.
        weights_sha256: Of the weights file beside the recipe; replaying refuses another one.
        seed: Of every random choice.
        versions: Of the libraries that the bytes depend on.
        arithmetic: The name of what the library computes in.
        tuning: Which measured kernels the library was built by; None where there was no choice.
    """

    model_sha256: str
    parts: Mapping[str, object]
    passes: tuple[str, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)
    weights_sha256: str = ""
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    arithmetic: str = FLOAT32.name
    tuning: Tuning | None = None

    def to_json(self) -> str:
        """The text of recipe.json."""
        content = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "passes": list(self.passes),
            **self.parts,
            "training": dict(self.training),
            "weights": {"file": WEIGHTS, "sha256": self.weights_sha256},
            "seed": self.seed,
            "versions": dict(self.versions),
            "arithmetic": self.arithmetic,
            "tuned": None if self.tuning is None else asdict(self.tuning),
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file.

    Raises:
        UsageError: The file cannot be read, is no recipe, or is of another format.
    """
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise UsageError(f"{path} has recipe format {content['format']}; this pfir reads format {FORMAT}")
        return Recipe(
            str(content["model_sha256"]),
            _parts(content),
            tuple(content["passes"]),
            dict(content["training"]),
            str(content["weights"]["sha256"]),
            int(content["seed"]),
            dict(content["versions"]),
            _arithmetic(content),
            _tuning(content.get("tuned")),
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not a recipe.json of pfir") from error


def _parts(content: Mapping[str, Any]) -> dict[str, object]:
    removed = {str(g): [int(c) for c in channels] for g, channels in content["removed"].items()}
    applied = [str(text) for text in content.get("applied", ())]
    coding = content.get(CODEBOOKS)
    coded = {} if coding is None else {"text": str(coding["text"]), "trained": bool(coding["trained"])}
    others = {"applied": applied, QUANTIZED: _quantized(content.get(QUANTIZED)), CODEBOOKS: coded}
    others[ZEROS] = str(content.get(ZEROS, ""))
    return {"removed": removed} | {key: part for key, part in others.items() if part}


def _quantized(content: Mapping[str, Any] | None) -> dict[str, object]:
    """The pass that quantized, the layers that it left in float and how integers were trained; empty where there was
    none."""
    if content is None:
        return {}
    left = [str(name) for name in content["left_in_float"]]
    return {"text": str(content["text"]), "left_in_float": left, "training": dict(content.get("training", {}))}


def _arithmetic(content: Mapping[str, object]) -> str:
    """Recipes from before there was a choice name none."""
    found = content.get("arithmetic", FLOAT32.name)
    if found not in [arithmetic.name for arithmetic in ARITHMETICS]:
        raise KeyError(found)
    return found


def _tuning(content: Mapping | None) -> Tuning | None:
    if content is None:
        return None
    databases = tuple(Database(str(d["name"]), str(d["sha256"]), int(d["kernels"])) for d in content["databases"])
    return Tuning(str(content["core"]), int(content["kernels"]), databases, str(content["choices"]))


def pack_weights(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as the bytes of a .npz; equal arrays give equal bytes. Names may hold any character."""
    names = sorted(arrays)
    buffer = io.BytesIO()
    listed = np.frombuffer(json.dumps(names).encode(), dtype=np.uint8)
    numbered: dict[str, Any] = {f"a{i}": arrays[n] for i, n in enumerate(names)}
    np.savez(buffer, names=listed, **numbered)
    return buffer.getvalue()


def read_weights(recipe_path: Path, recipe: Recipe) -> dict[str, np.ndarray]:
    """The arrays beside a recipe.

    Raises:
        UsageError: The file is missing, or is not the one that the recipe was written with.
    """
    path = recipe_path.with_name(WEIGHTS)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}, the weights of the recipe, cannot be read: {error.strerror}") from error
    if sha256(content) != recipe.weights_sha256:
        raise UsageError(f"{path} is not the weights file of {recipe_path}: its SHA-256 differs")
    try:
        return _unpacked(content)
    except Exception as error:  # numpy and zipfile document none of what damaged bytes make them raise
        raise UsageError(f"{path}, the weights of the recipe, cannot be unpacked: {error}") from error


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        names = json.loads(file["names"].tobytes().decode())
        return {str(name): file[f"a{i}"] for i, name in enumerate(names)}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
