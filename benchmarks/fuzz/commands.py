"""Cases of command lines: options in any company, with values that people and scripts give."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from benchmarks.fuzz.case import Base, Case, chance, pick

_ANY = (
    "",
    " ",
    "0",
    "1",
    "-1",
    "2",
    "0.5",
    "50%",
    "2.5x",
    "x",
    "nan",
    "inf",
    "1e400",
    "8ms",
    "30m",
    "h",
    "None",
    "true",
    "a=b",
    "--",
    "-",
    "1,5",
    "0x10",
    "\u0663",
    "99999999999999999999",
    "\x1b[31m",
    "a/b",
    "..",
    "ö",
    "{",
    "'",
    "name=1x3x16x16",
    "in0=1x3x16x16",
)
_VALUES = {
    "--target": (
        "host",
        "arm",
        "arm:cortex-a76",
        "rpi4",
        "aarch64",
        "raspberrypi4",
        "arm:",
        "arm:x",
        "cuda",
        "host:1",
        "arm,host",
    ),
    "--speedup": ("1.2", "2.5x", "0.5", "1", "1e9", "x2"),
    "--latency": ("8ms", "1us", "8", "0ms", "1h"),
    "--size": ("1.5x", "40x", "1", "0"),
    "--macs": ("0.5", "50%", "1", "0", "1.5"),
    "--max-drop": ("0.5", "0.5%", "-1", "101"),
    "--metric": ("auto", "accuracy", "fidelity", "f1"),
    "--backend": ("ort", "tvm", "onnx"),
    "--batch": ("1", "4", "0"),
    "--passes": (
        "simplify",
        "prune-channels",
        "prune-channels{ratio=0.3}",
        "prune-channels{",
        "simplify,,",
        "x",
        "prune-channels{ratio=2}",
        "prune-channels{ratio=0.1 ratio=0.2}",
        "fold-batch-norm{a=1}",
        "prune-channels{ratios=conv1:0.25}",
        "simplify}",
    ),
    "--device": ("host", "rpc://", "rpc://localhost", "rpc://h:99999", "usb"),
    "--tuned": ("none", "nosuch.json", "net.onnx"),
    "--input-shape": (
        "in0=1x3x16x16",
        "in0=1x3x8x8",
        "in0=",
        "x=1",
        "in0=0x3x16x16",
        "in0=1,3,16,16",
        "=1",
        "in0=2x3x16x16",
    ),
    "--trials": ("1", "2", "0"),
    "--epochs": ("0", "1"),
    "--time-budget": ("1s", "10m", "5", "0s"),
    "--seed": ("0", "7", "-3"),
    "--recipe": ("nosuch.json", "net.onnx", "."),
    "--data": ("data.npz", "nosuch.npz", ".", "pipe", "m:f", "mydata.py:load", "net.onnx"),
    "--validation": ("data.npz", "nosuch"),
    "--preprocess": ("scale=1/255", "imagenet", "scale", "mean=1:2"),
    "--jobs": ("1", "0"),
    "--depfile": ("d.d", "/nosuch/d.d", "."),
    "-o": ("out", "/dev/null", "/proc/x", "net.onnx", ".", "a/b/c", "out.onnx"),
    "--output": ("out", "/dev/null/x"),
    "--keep": ("Conv_1", "x"),
    "--only": ("Conv_1", "x"),
    "--reference": ("net.onnx", "nosuch.onnx"),
    "--out": ("k.json", ".", "/proc/k.json", "net.onnx"),
    "--threads": ("1", "0", "-2"),
    "--vs": ("onnxruntime", "tflite"),
    "--classes": ("c.txt", "nosuch.txt", "data.npz"),
    "--precision": ("auto", "float32", "float16", "int8", "int4"),
    "--verify": ("none", "host", "auto", "x"),
    "--vs-python": ("nosuch", "."),
}
_FLAGS = (
    "--json",
    "--force",
    "--resume",
    "--retrain",
    "--dry-run",
    "--help",
    "--version",
    "--again",
    "--offline",
    "-v",
    "--x",
)
_COMMANDS = {
    "compile": (
        "--target",
        "--precision",
        "--speedup",
        "--latency",
        "--size",
        "--macs",
        "--max-drop",
        "--data",
        "--validation",
        "--preprocess",
        "--metric",
        "--passes",
        "--keep",
        "--only",
        "--device",
        "--backend",
        "--tuned",
        "--batch",
        "--input-shape",
        "--trials",
        "--epochs",
        "--time-budget",
        "--recipe",
        "--seed",
        "--jobs",
        "--depfile",
        "-o",
        "--classes",
        "--verify",
    ),
    "opt": ("--passes", "-o", "--data", "--preprocess", "--keep", "--only", "--seed", "--input-shape"),
    "inspect": ("--keep", "--only", "--input-shape"),
    "evaluate": ("--data", "--preprocess", "--reference", "--jobs", "--classes"),
    "tune": ("--target", "--device", "--out", "--batch", "--input-shape", "--time-budget"),
    "targets": (),
    "passes": (),
    "nosuch": (),
}
_MODELS = (
    *("net.onnx",) * 8,
    "nosuch.onnx",
    "data.npz",
    ".",
    "",
    "/dev/null",
    "net.pt",
    "net.h5",
    "net.tflite",
    "saved",
    "pipe",
)


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """A command line in a folder with a model and data; it plans, for a whole run takes seconds."""
    for name in ("net.onnx", "data.npz"):
        (folder / name).symlink_to(base.folder / name)
    for name in ("net.pt", "net.h5", "net.tflite", "c.txt"):
        (folder / name).write_bytes(pick(rng, (b"", b"PK\x03\x04", b"\x89HDF", b"abcdTFL3", b"a\nb\n", b"\x80\x02")))
    os.mkfifo(folder / "pipe")
    command = pick(rng, ("compile",) * 8 + tuple(_COMMANDS))
    words = [command, *([pick(rng, _MODELS)] if chance(rng, 0.95) else [])]
    chosen = _needed(rng, command) + [n for n in _COMMANDS[command] if chance(rng, 0.05)]
    if chance(rng, 0.06):
        chosen.append(pick(rng, sorted(_VALUES)))
    for name in chosen:
        words += [name, _value(rng, name)] if chance(rng, 0.97) else [name]
    words += [flag for flag in _FLAGS if chance(rng, 0.03)]
    if command in ("compile", "tune"):
        words.append("--dry-run")
    return Case(tuple(words), "command line")


def _needed(rng: np.random.Generator, command: str) -> list[str]:
    """What the command cannot do without, mostly."""
    needed = {
        "compile": ("--target", pick(rng, ("--size", "--macs", "--speedup"))),
        "opt": ("--passes", "-o"),
        "evaluate": ("--data",),
        "tune": ("--target",),
    }.get(command, ())
    return [name for name in needed if chance(rng, 0.96)]


def _value(rng: np.random.Generator, name: str) -> str:
    usual = _VALUES.get(name, _ANY)
    if chance(rng, 0.06):
        return pick(rng, _ANY)
    return usual[0] if chance(rng, 0.6) else pick(rng, usual)
