"""Sentences about the words of a command line: what is wrong with them, and how to go on."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import typer.exceptions

PROGRAM = "pfir"
_EXAMPLES = {
    "compile": "compile model.onnx --target arm --speedup 2.5",
    "opt": "opt model.onnx --passes simplify -o simple.onnx",
    "inspect": "inspect model.onnx",
    "evaluate": "evaluate model.onnx --data test.npz",
    "bench": "bench model.onnx",
    "tune": "tune model.onnx --target host",
    "pack": "pack model.onnx -o model.pfir",
    "unpack": "unpack model.pfir -o model.onnx",
    "targets": "targets",
    "passes": "passes",
}
_PLAINER = {
    "Input should be a valid integer, unable to parse string as an integer": "a whole number is expected",
    "Input should be a valid number, unable to parse string as a number": "a number is expected",
}
"""What a library says of a wrong value, and what we say."""


def refusal(error: typer.exceptions.TyperException) -> str:
    """What is wrong with the words of the command line, and what would be right."""
    text, first = error.format_message().rstrip("."), sys.argv[1]
    for theirs, ours in _PLAINER.items():
        text = text.replace(theirs, ours)
    if "No such command" in text and (first.endswith(".onnx") or Path(first).exists()):
        example = _EXAMPLES["compile"].replace("model.onnx", shlex.quote(first))
        return f"no command stands before {first}; to compress it: {PROGRAM} {example}"
    if "Missing" in text and first in _EXAMPLES:
        text += f", as in `{PROGRAM} {_EXAMPLES[first]}`"
    command = f"{PROGRAM} {first}" if first in _EXAMPLES else PROGRAM
    return f"{text}; see `{command} --help`"


def how_to_resume() -> str:
    """The end of the sentence that tells of an interruption: what is kept and how to go on; empty where nothing is."""
    words = [w for w in sys.argv[1:] if w not in ("--force", "--resume")]
    if words and words[0] == "tune":
        return "; what was measured is kept, the same command goes on there"
    if not words or words[0] != "compile":
        return ""
    return f"; finished trials are kept, go on with: {PROGRAM} {shlex.join([*words, '--resume'])}"
