"""The processor cores that pfir can cost: peaks, clocks, caches and bandwidth, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GHZ = 1e9
GB = 1e9


@dataclass(frozen=True)
class Core:
    """One kind of processor core.

    Args:
        name: LLVM's name for it (`mcpu`).
        macs_per_cycle: Peak float32 multiply-accumulates a cycle.
        clock_hz: Clock assumed.
        bandwidth: Bytes a second that one core streams from memory.
        vector_bytes: Width of a vector register.
        vector_registers: How many of them there are.
        l1_bytes, l2_bytes: Data caches that one core sees.
        source: Where these numbers come from.
        efficiency: Share of the peak that well-tuned convolutions reach, in (0, 1].
    """

    name: str
    macs_per_cycle: float
    clock_hz: float
    bandwidth: float
    vector_bytes: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    source: str
    efficiency: float = 0.7


# The guides, chips and figures below are named from memory and were not looked up again for this table.
# Peaks: 128-bit FMLA instructions that start in a cycle (Arm's software optimization guides, SOG; for N2 also LLVM's
# scheduling model) times four lanes. Efficiencies: what ncnn's published figures leave of that peak
# (github.com/Tencent/ncnn, benchmark/README.md: MobileNet of 568.7 M MACs and ResNet-18 on Raspberry Pi 3 and 4, four
# threads at cores^0.8), rounded; in-order cores lose the most, cores without such figures get 0.7. Clocks and caches:
# the chips named. Bandwidths are rounded figures for one core streaming, about half of what the chip's memory carries
# in theory: assumptions, within the estimator's stated error.
def _neon(
    name: str, macs: float, efficiency: float, ghz: float, gb_s: float, l1_kib: int, l2_kib: int, source: str
) -> Core:
    about = f"{source}; named from memory, not looked up"
    return Core(name, macs, ghz * GHZ, gb_s * GB, 16, 32, l1_kib * KIB, l2_kib * KIB, about, efficiency)


def _x86(name: str, macs: float, vector_bytes: int, registers: int, source: str) -> Core:
    about = f"x86-64 psABI: {source}"
    return Core(name, macs, 2.5 * GHZ, 8 * GB, vector_bytes, registers, 32 * KIB, 512 * KIB, about, efficiency=0.9)


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        _neon("cortex-a53", 4, 0.35, 1.2, 2.0, 32, 512, "Arm Cortex-A53 TRM; clock, caches: BCM2837 (Raspberry Pi 3)"),
        _neon("cortex-a55", 4, 0.5, 1.8, 5.0, 32, 128, "Arm Cortex-A55 SOG; clock, caches: RK3588's small cores"),
        _neon("cortex-a72", 4, 0.55, 1.5, 4.0, 32, 1024, "Arm Cortex-A72 SOG; clock, caches: BCM2711 (Raspberry Pi 4)"),
        _neon("cortex-a73", 4, 0.55, 1.8, 5.0, 32, 1024, "Arm Cortex-A73 SOG; clock, caches: Amlogic S922X"),
        _neon("cortex-a76", 8, 0.7, 2.4, 9.0, 64, 512, "Arm Cortex-A76 SOG; clock, caches: BCM2712 (Raspberry Pi 5)"),
        _neon("cortex-a78", 8, 0.7, 2.4, 12.0, 32, 512, "Arm Cortex-A78 SOG; clock, caches: Snapdragon 888"),
        _neon("cortex-x1", 16, 0.7, 2.84, 20.0, 64, 1024, "Arm Cortex-X1 SOG; clock, caches: Snapdragon 888"),
        _neon("neoverse-n1", 8, 0.7, 2.5, 20.0, 64, 1024, "Arm Neoverse N1 SOG; clock, caches: AWS Graviton2"),
        _neon("neoverse-n2", 8, 0.7, 2.7, 20.0, 64, 1024, "Arm Neoverse N2 SOG; clock, caches: Alibaba Yitian 710"),
        # Four 128-bit pipes, as in Cortex-X1, or two of 256 bits for SVE.
        _neon("neoverse-v1", 16, 0.7, 2.6, 25.0, 64, 1024, "Arm Neoverse V1 SOG; clock, caches: AWS Graviton3"),
        _neon("apple-m1", 16, 0.7, 3.2, 50.0, 128, 12288, "four 128-bit pipes; clock, caches: Apple M1's large cores"),
    )
}

# Armv8.2-A with FEAT_FP16 (LLVM's `fullfp16`): multiply-adds of eight float16 values in a 128-bit instruction.
FP16_CORES = (
    "cortex-a55", "cortex-a76", "cortex-a78", "cortex-x1", "neoverse-n1", "neoverse-n2", "neoverse-v1", "apple-m1"
)  # fmt: skip

X86_LEVELS: dict[str, Core] = {
    core.name: core
    for core in (
        _x86("x86-64", 4, 16, 16, "SSE2; clock assumed"),
        _x86("x86-64-v2", 4, 16, 16, "SSE4; clock assumed"),
        _x86("x86-64-v3", 16, 32, 16, "two AVX2 FMA a cycle; clock assumed"),
        # Zen 4 runs 512-bit FMA at half rate, small Intel parts have one unit: 16 is what all reach.
        _x86("x86-64-v4", 16, 64, 32, "one AVX-512 FMA a cycle; clock assumed"),
    )
}
