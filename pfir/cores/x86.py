"""The levels of x86-64, each costed as one core that has it."""

from __future__ import annotations

from pfir.cores.records import GB, GHZ, KIB, MIB, Core


def _level(name: str, macs: float, vector_bytes: int, registers: int, source: str) -> Core:
    return Core(
        name,
        macs,
        clock_hz=2.5 * GHZ,
        bandwidth=16 * GB,
        vector_bytes=vector_bytes,
        vector_registers=registers,
        l1_bytes=32 * KIB,
        l2_bytes=512 * KIB,
        source=f"x86-64 psABI: {source}",
        efficiency=0.9,
        l3_bytes=4 * MIB,
    )


X86_LEVELS: dict[str, Core] = {
    core.name: core
    for core in (
        _level("x86-64", 4, 16, 16, "SSE2; clock assumed"),
        _level("x86-64-v2", 4, 16, 16, "SSE4; clock assumed"),
        _level("x86-64-v3", 16, 32, 16, "two AVX2 FMA a cycle; clock assumed"),
        # Zen 4 runs 512-bit FMA at half rate, small Intel parts have one unit: 16 is what all reach.
        _level("x86-64-v4", 16, 64, 32, "one AVX-512 FMA a cycle; clock assumed"),
    )
}
