"""What a model is compiled for: a triple, a core with its peaks, and a number of threads."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace

from pfir.cores import CORES, CORES_32, FP16_CORES, X86_LEVELS, Core
from pfir.errors import UsageError
from pfir.system.host_cpu import host_core, host_triple

__all__ = [
    "ARITHMETICS",
    "FLOAT16",
    "FLOAT32",
    "HALF",
    "HALF_TERMS",
    "INT8",
    "SINGLE",
    "Arithmetic",
    "Core",
    "Target",
    "arithmetic_named",
    "floats_of",
    "has_float16",
    "known_targets",
    "parse_target",
    "with_arithmetic",
    "with_clock",
]

SINGLE, HALF = "float32", "float16"
"""NumPy's names of the types of floats."""
INT8 = "int8"
"""What kernels compute in that sum products of integers of eight bits, signed or not."""
HALF_TERMS = 288
"""The longest sum that float16 takes alone. Rounding to 11 bits at every step of a sum of n like terms errs by about
sqrt(n) / 2^12 of it: here by 0.4 %."""

MOST_THREADS = 256
LEAST_CLOCK_HZ, MOST_CLOCK_HZ = 0.1e9, 6e9
_TYPE_BYTES = {SINGLE: 4, HALF: 2, "int32": 4, "int8": 1}


@dataclass(frozen=True)
class Arithmetic:
    """What a library computes in, between inputs and outputs of float32.

    Args:
        name: What recipes, reports and databases call it.
        data: The type of activations, by NumPy's name.
        weights: The type of weights.
        accumulators: The type that products are summed in.
        about: What a reader is told of it.
    """

    name: str
    data: str
    weights: str
    accumulators: str
    about: str

    @property
    def data_bytes(self) -> int:
        """Bytes of one value of an activation."""
        return _TYPE_BYTES[self.data]

    def __str__(self) -> str:
        return self.name


FLOAT32 = Arithmetic("float32", SINGLE, SINGLE, SINGLE, "float32 arithmetic")
FLOAT16 = Arithmetic("float16", HALF, HALF, HALF, "fp16 arithmetic")
ARITHMETICS = (FLOAT32, FLOAT16)


def arithmetic_named(name: object) -> Arithmetic:
    """The arithmetic that a recipe or report calls so.

    Raises:
        UsageError: There is none of this name.
    """
    for arithmetic in ARITHMETICS:
        if arithmetic.name == name:
            return arithmetic
    raise UsageError(f"arithmetic {name!r} is not known; it is one of {', '.join(a.name for a in ARITHMETICS)}")


def floats_of(precision: str) -> Arithmetic:
    """The arithmetic that `--precision` asks for where a model brings its own integers.

    Raises:
        UsageError: It asks for neither kind of floats.
    """
    if precision not in [arithmetic.name for arithmetic in ARITHMETICS]:
        raise UsageError(f"--precision is {precision}; here it is {' or '.join(a.name for a in ARITHMETICS)}")
    return arithmetic_named(precision)


@dataclass(frozen=True)
class Target:
    """Where a library will run.

    Args:
        name: As the user wrote it.
        triple: LLVM's target triple.
        core: The core assumed for cost and tuning.
        cpu: LLVM's `mcpu` for code generation; `generic` uses no optional feature.
        features: LLVM's feature names beyond those of `cpu`, such as `+neon`.
        threads: Threads used at run time.
        about: What it stands for, in a few words.
        arithmetic: What a library computes in; its inputs and outputs are float32 in any.
    """

    name: str
    triple: str
    core: Core
    cpu: str = "generic"
    features: tuple[str, ...] = ()
    threads: int = 1
    about: str = ""
    arithmetic: Arithmetic = FLOAT32

    @property
    def arm64(self) -> bool:
        """Whether it is 64-bit Arm, whatever the system."""
        return self.triple.startswith(("aarch64", "arm64"))

    @property
    def value_bytes(self) -> int:
        """Bytes of one value of an activation, of which vectors are made."""
        return self.arithmetic.data_bytes

    @property
    def lanes(self) -> int:
        """Values in one vector register."""
        return self.core.vector_bytes // self.value_bytes

    @property
    def macs_per_cycle(self) -> float:
        """Peak multiply-accumulates a cycle: the core's vector instructions by what a register holds."""
        return self.core.macs_per_cycle * 4 / self.value_bytes

    @property
    def computes(self) -> str:
        """The arithmetic in words."""
        about = self.arithmetic.about
        return about if self.arithmetic.data == SINGLE else f"{about}; inputs and outputs float32"

    def __str__(self) -> str:
        return f"{self.name} ({self.triple}, costed as {self.core.name} at {self.core.clock_hz / 1e9:.2f} GHz)"


_LINUX = "aarch64-linux-gnu"
# Armv7 has 16 vector registers of 128 bits where Armv8-A has 32; its code is costed on a core that runs both.
_ARMV7_CORE = replace(CORES["cortex-a53"], vector_registers=16)
_PLAIN: tuple[Target, ...] = (
    Target("arm", _LINUX, CORES["cortex-a72"], about="any 64-bit Arm with Linux; no optional features"),
    Target("armv7", "armv7-linux-gnueabihf", _ARMV7_CORE, features=("+neon", "+vfp4"), about="32-bit Arm with NEON"),
    Target("android-arm64", "aarch64-linux-android21", CORES["cortex-a76"], about="any 64-bit Android phone"),
    Target("rpi3", _LINUX, CORES["cortex-a53"], "cortex-a53", about="Raspberry Pi 3, 64-bit system"),
    Target("rpi4", _LINUX, CORES["cortex-a72"], "cortex-a72", about="Raspberry Pi 4, 64-bit system"),
    Target("rpi5", _LINUX, CORES["cortex-a76"], "cortex-a76", about="Raspberry Pi 5, 64-bit system"),
    Target("x86-64", "x86_64-linux-gnu", X86_LEVELS["x86-64"], "x86-64", about="any 64-bit x86 with Linux; SSE2 only"),
)
_CORES_OF = {
    "arm": CORES,
    "android-arm64": CORES,
    "armv7": {
        **{
            name: replace(CORES[name], vector_registers=16)
            for name in ("cortex-a53", "cortex-a55", "cortex-a57", "cortex-a72", "cortex-a73")
        },
        **CORES_32,
    },
    "x86-64": X86_LEVELS,
}


# Its NEON has no fused multiply-add (VFPv4).
_WITHOUT_FMA = ("cortex-a9",)
_OTHER_NAMES = {
    **dict.fromkeys(("aarch64", "arm64", "armv8", "armv8-a", "aarch64-linux-gnu", "linux-arm64"), "arm"),
    **dict.fromkeys(("android", "arm64-v8a", "android-aarch64"), "android-arm64"),
    **dict.fromkeys(("armhf", "armv7l", "armv7-a", "armv7a", "arm32", "linux-armv7"), "armv7"),
    **dict.fromkeys(("amd64", "x64", "x86", "linux-amd64"), "x86-64"),
    **dict.fromkeys(("native", "local", "localhost"), "host"),
    "graviton2": "neoverse-n1",
    "graviton3": "neoverse-v1",
    "m1": "apple-m1",
}
_BOARDS = ("rpi3", "rpi4", "rpi5")
_CLOCK = re.compile(r"(\d{1,5}(?:\.\d{1,6})?)\s*([GM]hz)", re.IGNORECASE)
_BOARD = re.compile(r"(?:raspberry-?pi|raspi|rpi|pi)-?([345])(?:-?(?:model-?)?b(?:\+|-plus)?)?")
_ARM_CORE = re.compile(r"(?:cortex-?)?([ax]\d+)|neoverse-?([nv]\d)")


def parse_target(text: str) -> Target:
    """The target of a text such as `arm`, `arm:cortex-a76`, `arm:cortex-a53,threads=4,clock=1.2GHz`, `armv7`, `rpi4`.

    A core's name alone stands for that core with 64-bit Linux: `cortex-a76` is `arm:cortex-a76`. Names that others use
    for the same are taken too: `aarch64`, `raspberry-pi-4`, `a72`.

    Raises:
        UsageError: The target, core or option is not known; the message lists those that are.
    """
    name, *options = (part.strip() for part in text.split(","))
    base, colon, core = name.partition(":")
    base, core = usual_name(base), usual_name(core)
    target = _base(base)
    if colon:
        target = _with_core(target, base, core)
    for option in options:
        target = _with_option(target, option)
    return replace(target, name=text.strip())


def with_clock(text: str, clock: str | None) -> str:
    """The text of a target with the clock that an option gives beside it.

    Raises:
        UsageError: The text has a clock already.
    """
    if clock is None:
        return text
    if any(part.strip().startswith("clock") for part in text.split(",")[1:]):
        raise UsageError(f"--clock {clock} beside --target {text}: give one clock")
    return f"{text},clock={clock}"


def has_float16(target: Target) -> bool:
    """Whether its code may multiply vectors of float16."""
    return target.arm64 and target.cpu in FP16_CORES


def with_arithmetic(target: Target, arithmetic: Arithmetic) -> Target:
    """The target, its libraries computing in this arithmetic.

    Raises:
        UsageError: Its code may not use float16 vector arithmetic; the message names the cores that have it.
    """
    if arithmetic == FLOAT16 and not has_float16(target):
        cores = ", ".join(FP16_CORES)
        raise UsageError(
            f"target {target.name} has no fp16 vector arithmetic (--precision float16, or a recipe made with it); "
            f"the cores that have it are {cores}, as in --target arm:{FP16_CORES[0]}"
        )
    return replace(target, arithmetic=arithmetic)


def known_targets() -> tuple[Target, ...]:
    """Every target there is, without options: the plain ones, this machine, then each core by its base."""
    cores = [f"arm:{core}" for core in CORES] + [f"armv7:{core}" for core in CORES_32]
    cores += [f"x86-64:{core}" for core in X86_LEVELS if core != "x86-64"]
    return (*_PLAIN, _host(), *(parse_target(name) for name in cores))


def usual_name(name: str) -> str:
    """Our name for a target or core that others call so; what nobody calls so stays, in small letters."""
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    if board := _BOARD.fullmatch(plain):
        return f"rpi{board[1]}"
    if core := _ARM_CORE.fullmatch(plain):
        return f"cortex-{core[1]}" if core[1] else f"neoverse-{core[2]}"
    return _OTHER_NAMES.get(plain, plain)


def _base(name: str) -> Target:
    if name == "host":
        return _host()
    plain = {target.name: target for target in _PLAIN}
    if name in plain:
        return plain[name]
    if name in CORES:
        return _with_core(plain["arm"], "arm", name)
    if name in CORES_32:
        return _with_core(plain["armv7"], "armv7", name)
    if name in X86_LEVELS:
        return _with_core(plain["x86-64"], "x86-64", name)
    raise UsageError(f"target {name!r} is not known{_hint(name, (*plain, 'host', *CORES, *CORES_32, *X86_LEVELS))}")


def _host() -> Target:
    core = host_core()
    return Target("host", host_triple(), core, core.name, about="this machine")


def _with_core(target: Target, base: str, core: str) -> Target:
    if base not in _CORES_OF:
        raise UsageError(f"target {base!r} names its core already; write {base!r} alone or 'arm:{core}'")
    cores = _CORES_OF[base]
    if core not in cores:
        raise UsageError(f"core {core!r} is not known for target {base!r}{_hint(core, tuple(cores))}")
    features = ("+neon",) if core in _WITHOUT_FMA else target.features
    return replace(target, core=cores[core], cpu=core, features=features, about=cores[core].source)


def _with_option(target: Target, option: str) -> Target:
    key, _, value = (part.strip() for part in option.partition("="))
    if key == "clock":
        return _with_clock(target, value)
    if key != "threads":
        raise UsageError(f"target option {option!r} is not known; those known are threads=N and clock=GHz")
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST_THREADS):
        raise UsageError(f"threads is {value!r}; it must be a whole number in 1..{MOST_THREADS}")
    return replace(target, threads=int(value))


def _with_clock(target: Target, value: str) -> Target:
    """The same core at another clock; unless the target is a board, it is another board than its costs are of."""
    found = _CLOCK.fullmatch(value)
    hertz = float(found[1]) * (1e9 if found[2].lower() == "ghz" else 1e6) if found else 0.0
    if not LEAST_CLOCK_HZ <= hertz <= MOST_CLOCK_HZ:
        raise UsageError(f"clock is {value!r}; it must be from 0.1GHz to 6GHz, such as 1.8GHz or 900MHz")
    core = replace(target.core, clock_hz=hertz)
    if target.name not in _BOARDS:
        core = replace(core, board="", errors=core.errors.of_another_board)
    return replace(target, core=core)


def _hint(name: str, known: tuple[str, ...]) -> str:
    known = tuple(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=2)
    meant = f"; did you mean {' or '.join(close)}?" if close else ";"
    return f"{meant} known: {', '.join(known)} (pfir targets says what each is)"
