"""The levels of x86-64, each costed as one core that has it.

What instructions take was fitted (`pfir.devices.estimation.fit`) to nine nets and 27 pruned variants of theirs,
measured on one thread of an AMD EPYC with AVX2, so that level's costs; in cycles of the clock that Linux told, 2.45
GHz. The others are in proportion: a multiply-add by what the peak says, and instructions on 512 bits take twice the
time of those on 256 where the peak says so. A net that was not fitted errs by 6 % there
(benchmarks/results/estimator_host.md); what other processors take is not known.

Of the cache that cores share one core keeps 4 MiB from one inference to the next, and what it does not keep comes from
memory at 16 GB/s: those nets fit best so, of 2 to 10 MiB and 6 to 20 GB/s.
"""

from __future__ import annotations

from pfir.cores.records import GB, GHZ, KIB, MIB, UNFITTED, Core, Costs, Errors

# Cycles of the fit; of a multiply-add on a core that starts one vector of them a cycle.
_MULTIPLY = 0.892
_VECTOR, _LOAD, _LOAD_BYTE, _STORE, _STORE_BYTE, _SCALAR = 0.356, 0.353, 0.0110, 0.364, 0.0114, 0.208
_WHOLE_BYTES = 32
_FITTED = Errors(0.06, UNFITTED.float16, UNFITTED.int8, UNFITTED.elsewhere, ("float32",))


def x86_costs(vector_bytes: int, macs_per_cycle: float) -> Costs:
    """What instructions take of a core with such vectors and such a peak."""
    multiply = _MULTIPLY * vector_bytes / 4 / macs_per_cycle
    twice = vector_bytes > _WHOLE_BYTES and macs_per_cycle < vector_bytes / 2
    vector = _VECTOR * (2 if twice else 1)
    return Costs(
        multiply=multiply,
        half=multiply,
        dot=multiply,
        widening=multiply,
        vector=vector,
        load=_LOAD,
        load_byte=_LOAD_BYTE,
        store=_STORE,
        store_byte=_STORE_BYTE,
        scalar=_SCALAR,
        branch=_SCALAR,
    )


def _level(name: str, macs: float, vector_bytes: int, registers: int, source: str, errors: Errors = UNFITTED) -> Core:
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
        l3_bytes=4 * MIB,
        fitted=x86_costs(vector_bytes, macs),
        errors=errors,
    )


X86_LEVELS: dict[str, Core] = {
    core.name: core
    for core in (
        _level("x86-64", 4, 16, 16, "SSE2; clock assumed"),
        _level("x86-64-v2", 4, 16, 16, "SSE4; clock assumed"),
        _level("x86-64-v3", 16, 32, 16, "two AVX2 FMA a cycle; clock assumed", _FITTED),
        # Zen 4 runs 512-bit FMA at half rate, small Intel parts have one unit: 16 is what all reach.
        _level("x86-64-v4", 16, 64, 32, "one AVX-512 FMA a cycle; clock assumed"),
    )
}
VNNI_CORES = ("icelake-server", "znver4")
"""Processors with AVX-512 and dot products of four bytes (`avx512_vnni`), by LLVM's names."""
