"""How many instructions each Arm core starts in a cycle, and where that is written.

Of LLVM these are the scheduling models (llvm/lib/Target/AArch64/AArch64Sched*.td, llvm/lib/Target/ARM/ARMSchedule*.td),
of Arm the Software Optimization Guides (SOG). Pipes of 64 bits count as half an instruction on 128 bits.
"""

from __future__ import annotations

from pfir.cores.records import Issue

_A53 = Issue(multiplies=1, vectors=1, widening=1, width=2, load_bytes=8, store_bytes=8)
_A55 = Issue(multiplies=1, vectors=1, widening=1, width=2, load_bytes=8, store_bytes=16)
_A57 = Issue(multiplies=1, vectors=2, widening=1, width=3, load_bytes=16, store_bytes=8)
_A73 = Issue(multiplies=1, vectors=2, widening=1, width=2, load_bytes=16, store_bytes=16)
_A76 = Issue(multiplies=2, vectors=2, widening=1, width=4, load_bytes=32, store_bytes=16)
_A78 = Issue(multiplies=2, vectors=2, widening=1, width=6, load_bytes=32, store_bytes=32)
_A720 = Issue(multiplies=2, vectors=2, widening=1, width=5, load_bytes=32, store_bytes=32)
_X1 = Issue(multiplies=4, vectors=4, widening=2, width=5, load_bytes=32, store_bytes=32)
_X3 = Issue(multiplies=4, vectors=4, widening=2, width=6, load_bytes=48, store_bytes=32)
_X4 = Issue(multiplies=4, vectors=4, widening=2, width=10, load_bytes=48, store_bytes=32)
_N2 = Issue(multiplies=2, vectors=2, widening=1, width=5, load_bytes=48, store_bytes=32)
_M1 = Issue(multiplies=4, vectors=4, widening=4, width=8, load_bytes=48, store_bytes=32)
_TSV110 = Issue(multiplies=2, vectors=2, widening=1, width=4, load_bytes=32, store_bytes=16)

ISSUE: dict[str, Issue] = {
    "cortex-a53": _A53,
    "cortex-a55": _A55,
    "cortex-a57": _A57,
    "cortex-a72": _A57,
    "cortex-a73": _A73,
    "cortex-a76": _A76,
    "cortex-a78": _A78,
    "cortex-a520": _A55,
    "cortex-a720": _A720,
    "cortex-x1": _X1,
    "cortex-x3": _X3,
    "cortex-x4": _X4,
    "neoverse-n1": _A76,
    "neoverse-n2": _N2,
    "neoverse-v1": _X1,
    "apple-m1": _M1,
    "apple-m3": _M1,
    "tsv110": _TSV110,
    # 32 bits: NEON pipes of 64 bits, which is what a widening product reads. A7 multiplies one lane of float32 a cycle.
    "cortex-a7": Issue(multiplies=0.25, vectors=0.5, widening=0.25, width=1, load_bytes=8, store_bytes=8),
    "cortex-a9": Issue(multiplies=0.5, vectors=0.5, widening=1, width=2, load_bytes=8, store_bytes=8),
    "cortex-a17": Issue(multiplies=0.5, vectors=0.5, widening=1, width=2, load_bytes=16, store_bytes=8),
}

FAMILIES: dict[str, tuple[str, ...]] = {
    "in order": ("cortex-a53", "cortex-a55", "cortex-a520"),
    "two pipes of 64 bits": ("cortex-a57", "cortex-a72", "cortex-a73"),
    "two pipes of 128 bits or more": (
        "cortex-a76",
        "cortex-a78",
        "cortex-a720",
        "cortex-x1",
        "cortex-x3",
        "cortex-x4",
        "neoverse-n1",
        "neoverse-n2",
        "neoverse-v1",
        "apple-m1",
        "apple-m3",
        "tsv110",
    ),
    "32 bits": ("cortex-a7", "cortex-a9", "cortex-a17"),
}
"""Cores that overlap the same things, so that one factor a class brings their scheduling models to what boards take."""
