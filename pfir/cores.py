"""The processor cores that pfir can cost: peaks, clocks, caches and bandwidth, each with its source."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.instructions import Instructions

KIB = 1024
MIB = 1024 * KIB
GHZ = 1e9
GB = 1e9


@dataclass(frozen=True)
class Costs:
    """Cycles that an instruction of each class takes of a core, and a byte of its loads and stores.

    Args:
        multiply, half, dot, widening, vector, load, load_byte, store, store_byte, scalar, branch: As the classes of
            `Instructions`; at least 0.
        call: Of a kernel's call from the virtual machine.
    """

    multiply: float
    half: float
    dot: float
    widening: float
    vector: float
    load: float
    load_byte: float
    store: float
    store_byte: float
    scalar: float
    branch: float
    call: float = 0.0

    def cycles(self, of: Instructions) -> float:
        """What these instructions take, all but the call."""
        return (
            self.multiply * of.multiply
            + self.half * of.half
            + self.dot * of.dot
            + self.widening * of.widening
            + self.vector * of.vector
            + self.load * of.load
            + self.load_byte * of.load_bytes
            + self.store * of.store
            + self.store_byte * of.store_bytes
            + self.scalar * of.scalar
            + self.branch * of.branch
        )


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

    @property
    def costs(self) -> Costs:
        """What instructions take of it."""
        each = 4 / self.macs_per_cycle
        return Costs(*(each,) * 5, each, each / 32, each, each / 32, each / 2, each / 2, call=1000.0)


# Peaks: 128-bit FMLA instructions that start in a cycle times four lanes, from LLVM's scheduling models
# (llvm/lib/Target/AArch64/AArch64Sched*.td; for Cortex-A72 and A73 LLVM takes that of A57, whose two pipes of 64 bits
# do one such instruction a cycle, as on A55). Efficiencies: what ncnn's published figures leave of that peak
# (github.com/Tencent/ncnn, benchmark/README.md: MobileNet of 568.7 M MACs and ResNet-18 on Raspberry Pi 3 and 4, four
# threads at cores^0.8), rounded; in-order cores lose the most, cores without such figures get 0.7. Clocks and caches:
# of the chips named, where their source is named, too; else they are assumed. Bandwidths are rounded figures for one
# core streaming, about half of what the chip's memory carries in theory: assumptions, within the estimator's stated
# error.
_PI = "raspberrypi.com/documentation/computers/processors.html"


def _neon(
    name: str, macs: float, efficiency: float, ghz: float, gb_s: float, l1_kib: int, l2_kib: int, source: str
) -> Core:
    return Core(name, macs, ghz * GHZ, gb_s * GB, 16, 32, l1_kib * KIB, l2_kib * KIB, source, efficiency)


def _x86(name: str, macs: float, vector_bytes: int, registers: int, source: str) -> Core:
    about = f"x86-64 psABI: {source}"
    return Core(name, macs, 2.5 * GHZ, 8 * GB, vector_bytes, registers, 32 * KIB, 512 * KIB, about, efficiency=0.9)


CORES: dict[str, Core] = {
    core.name: core
    for core in (
        # 1.2 GHz is BCM2837's clock (Pi 3B); BCM2837B0 (3B+) runs up to 1.4. Second-level cache: Linux, bcm2837.dtsi.
        _neon("cortex-a53", 4, 0.35, 1.2, 2.0, 32, 512, f"LLVM's SchedA53; Raspberry Pi 3B, BCM2837: {_PI}"),
        _neon("cortex-a55", 4, 0.5, 1.8, 5.0, 32, 128, "LLVM's SchedA55; RK3588's small cores: Linux, rk3588s.dtsi"),
        # 1.5 GHz is the clock of the documentation; later boards and firmware run 1.8.
        _neon("cortex-a72", 4, 0.55, 1.5, 4.0, 32, 1024, f"LLVM's SchedA57; Raspberry Pi 4, BCM2711: {_PI}"),
        _neon("cortex-a73", 4, 0.55, 1.8, 5.0, 32, 1024, "LLVM's SchedA57; clock and caches assumed"),
        _neon("cortex-a76", 8, 0.7, 2.4, 9.0, 64, 512, f"two 128-bit pipes: Arm's SOG; Raspberry Pi 5, BCM2712: {_PI}"),
        _neon(
            "cortex-a78",
            8,
            0.7,
            2.4,
            12.0,
            32,
            512,
            "two 128-bit pipes: anandtech.com/show/15813; clock of Snapdragon 888's middle cores; caches assumed",
        ),
        _neon(
            "cortex-x1",
            16,
            0.7,
            2.84,
            20.0,
            64,
            1024,
            "four 128-bit pipes, caches: anandtech.com/show/15813; clock of Snapdragon 888's large core",
        ),
        _neon("neoverse-n1", 8, 0.7, 2.5, 20.0, 64, 1024, "LLVM's SchedNeoverseN1; AWS Graviton2: WikiChip"),
        _neon("neoverse-n2", 8, 0.7, 2.7, 20.0, 64, 1024, "LLVM's SchedNeoverseN2; clock and caches assumed"),
        # Four 128-bit pipes, as in Cortex-X1, or two of 256 bits for SVE.
        _neon("neoverse-v1", 16, 0.7, 2.6, 25.0, 64, 1024, "LLVM's SchedNeoverseV1; AWS Graviton3: WikiChip"),
        _neon(
            "apple-m1",
            16,
            0.7,
            3.2,
            50.0,
            128,
            12288,
            "four 128-bit pipes: D. Johnson's measurements; clock and caches of Apple M1's large cores: Wikipedia",
        ),
    )
}

# Armv8.2-A with FEAT_FP16 (LLVM's `fullfp16`): multiply-adds of eight float16 values in a 128-bit instruction.
FP16_CORES = (
    "cortex-a55",
    "cortex-a76",
    "cortex-a78",
    "cortex-x1",
    "neoverse-n1",
    "neoverse-n2",
    "neoverse-v1",
    "apple-m1",
)

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
