"""Cases of damaged state: databases of kernels, libraries in the cache, and what an interrupted run left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from benchmarks.fuzz.base import RUN
from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.damage import damaged
from benchmarks.fuzz.texts import changed_json, changed_value
from pfir.artifact import LinkedConstants

WHOLE = 0.03
"""Of the cases of interrupted runs, which are resumed to the end."""


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """Something damaged, and what reads it."""
    return pick(rng, _KINDS)(rng, folder, base)


def _database(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A file of measured kernels: the user's own, or one that is named."""
    content = changed_json(rng, _kernels(rng))
    net = str(base.folder / "net.onnx")
    own = chance(rng, 0.4)
    path = Path("../cache/pfir/kernels.json") if own else Path("k.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if chance(rng, 0.5):
        words = ["tune", net, "--target", "host", "--dry-run"] + ([] if own else ["--out", "k.json"])
        return Case(tuple(words), "kernels.json, tune")
    return Case((), "kernels.json, known", _known(None if own else "k.json"))


def _kernels(rng: np.random.Generator) -> str:
    from pfir.backends.tvm.tuning.database import SHIPPED

    content = json.loads(SHIPPED.read_text())
    cores = {core: dict(list(entries.items())[:3]) for core, entries in list(content["cores"].items())[:2]}
    return json.dumps({**content, "cores": cores})


def _known(name: str | None):
    """A law: what is known of a core is sound, or the file is refused."""

    def law(_: int) -> str | None:
        from pfir.backends.tvm.tuning.database import known
        from pfir.errors import PfirError
        from pfir.target import parse_target

        try:
            for target in ("host", "arm"):
                found = known(parse_target(target), name)
                str(found)
        except PfirError as error:
            return None if error.exit_code in (2, 3) else f"exit code {error.exit_code}"
        return None

    return law


def _library(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A library in the cache: what is found is what was kept, or nothing."""
    content, slow = rng.bytes(3000), ("a", "b") if chance(rng, 0.5) else ()

    def law(_: int) -> str | None:
        from pfir.backends.tvm.library import store

        built = store.Built(content, LinkedConstants(4000, 3000), slow)
        store.keep("k" * 64, built)
        kept = [p for p in Path("../cache").rglob("*") if p.is_file()]
        path = pick(rng, kept)
        how = pick(rng, ("damage", "damage", "damage", "empty", "gone", "folder", "other"))
        _spoil(rng, path, how)
        found = store.find("k" * 64)
        if found is None or found == built:
            return None
        return f"a damaged library is taken for whole: {path.suffix} {how}"

    return Case((), "library in the cache", law)


def _spoil(rng: np.random.Generator, path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if how == "damage":
        path.write_bytes(damaged(rng, content))
    elif how == "empty":
        path.touch()
    elif how == "folder":
        path.mkdir()
    elif how == "other":
        path.write_bytes(rng.bytes(100))


def _journal(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A search's journal: its trials, or a refusal."""
    lines = (base.folder / "state/search.jsonl").read_text().splitlines()
    header = json.loads(lines[0])
    (folder / "j.jsonl").write_bytes(_changed_lines(rng, lines))

    def law(_: int) -> str | None:
        from pfir.errors import PfirError
        from pfir.search.journal import Journal

        try:
            journal = Journal(Path("j.jsonl"), header["fingerprint"], _Space(header["parameters"]))
        except PfirError:
            return None
        journal.close()
        return None if all(_sound(t) for t in journal.trials) else "a damaged trial is taken for whole"

    return Case((), "search journal", law)


class _Space:
    """The names of parameters, which is all that a journal asks of a space."""

    def __init__(self, names: list[str]) -> None:
        self.names = tuple(names)


def _sound(trial) -> bool:
    plain = isinstance(trial.parameters, dict) and all(isinstance(v, int | float) for v in trial.parameters.values())
    return plain and isinstance(trial.details, dict) and isinstance(trial.score, int | float | type(None))


def _changed_lines(rng: np.random.Generator, lines: list[str]) -> bytes:
    how = pick(rng, ("json", "json", "json", "bytes", "cut", "order"))
    at = int(rng.integers(len(lines)))
    if how == "json":
        lines = [*lines[:at], json.dumps(changed_value(rng, json.loads(lines[at]))), *lines[at + 1 :]]
    elif how == "order":
        lines = [lines[int(k)] for k in rng.integers(len(lines), size=len(lines))]
    content = "".join(f"{line}\n" for line in lines).encode()
    if how == "bytes":
        return damaged(rng, content)
    return content[: int(rng.integers(len(content) + 1))] if how == "cut" else content


def _checkpoint(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A training's state: whole, or passed over."""
    from pfir.train.checkpoint import State, save

    path = folder / "checkpoint.npz"
    arrays = {name: rng.standard_normal(40).astype(np.float32) for name in ("weights", "momentum")}
    save(path, State(arrays, {"key": "k", "step": 3, "curve": [{"step": 1, "loss": 0.5}]}))
    content = path.read_bytes()
    ends = chance(rng, 0.5)
    path.write_bytes(damaged(rng, content[:200]) + content[200:] if ends else damaged(rng, content))

    def law(_: int) -> str | None:
        from pfir.train.checkpoint import load

        state = load(path, "k").state
        return None if state is None or isinstance(state.facts, dict) else "facts that are no facts"

    return Case((), "checkpoint", law)


def _interrupted(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A folder of a run that was ended, its state damaged; the run goes on, or says why not."""
    out = folder / "out"
    shutil.copytree(base.folder / "state", out / ".pfir")
    files = sorted(p for p in (out / ".pfir").iterdir())
    chosen = pick(rng, files)
    if chosen.suffix == ".jsonl":
        chosen.write_bytes(_changed_lines(rng, chosen.read_text().splitlines()))
    else:
        _spoil(rng, chosen, pick(rng, ("damage", "empty", "folder", "gone")))
    odd = pick(rng, ("", "", "stage", "lock", "file", "nothing"))
    if odd == "stage":
        (out / ".pfir/stage").mkdir()
        (out / ".pfir/stage/model.onnx").write_bytes(b"x")
    elif odd == "lock":
        (out / ".pfir/lock").write_text("999999")
    elif odd == "file":
        (out / "manifest.json").write_text("{")
    return _resumed(rng, base, f"state: {chosen.name} {odd}")


def _resumed(rng: np.random.Generator, base: Base, note: str) -> Case:
    """The run goes on to its end now and then, for that takes a second; mostly it is only asked what is planned."""
    words = [w if not w.endswith((".onnx", ".npz")) else str(base.folder / w) for w in RUN]
    whole = chance(rng, WHOLE)
    how = pick(rng, ("--resume", "--resume", "--resume", "--force")) if whole else pick(rng, ("--resume", "--force"))
    words += ["--epochs", "1", "-o", "out", how]
    return Case(
        tuple(words if whole else [*words, "--dry-run"]),
        note + (", whole" if whole else ""),
        None if whole else _opened,
    )


def _opened(_: int) -> str | None:
    """What a plan leaves out: the folder is opened as a resumed run opens it."""
    from pfir.compile.workspace import CHECKPOINT, Workspace
    from pfir.errors import PfirError
    from pfir.train.checkpoint import load

    try:
        room = Workspace(Path("out"), resume=True)
        room.journals()
        for path in room.state.glob(f"*{CHECKPOINT}"):
            load(path, "k")
        room.abandon()
    except PfirError:
        return None
    return None


_KINDS = (_database,) * 4 + (_library,) * 2 + (_journal,) * 3 + (_checkpoint,) * 2 + (_interrupted,) * 2
