"""Targets: what the texts mean, and that every number is usable."""

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir.cores import CORES, CORES_32, FP16_CORES, X86_LEVELS
from pfir.errors import UsageError
from pfir.system.host_cpu import _ARM_PARTS, cpu_fields, host_core, host_triple, usable_cores, x86_name
from pfir.target import (
    ARITHMETICS,
    FLOAT16,
    FLOAT32,
    Arithmetic,
    arithmetic_named,
    floats_of,
    has_float16,
    known_targets,
    parse_target,
    with_arithmetic,
    with_clock,
)


def test_arm_is_64_bit_linux_without_options_costed_as_one_cortex_a72_at_1_8_ghz():
    target = parse_target("arm")
    assert (target.triple, target.cpu, target.features, target.threads) == ("aarch64-linux-gnu", "generic", (), 1)
    assert (target.core.name, target.core.clock_hz, target.lanes) == ("cortex-a72", 1.8e9, 4)


@pytest.mark.parametrize("target", known_targets(), ids=lambda t: t.name)
def test_every_known_target_parses_back_to_itself(target):
    parsed = parse_target(target.name)
    assert (parsed.triple, parsed.core, parsed.cpu, parsed.features) == (
        target.triple,
        target.core,
        target.cpu,
        target.features,
    )
    assert parse_target(parsed.name) == parsed


@pytest.mark.parametrize("core", [*CORES.values(), *CORES_32.values(), *X86_LEVELS.values()], ids=lambda c: c.name)
def test_the_numbers_of_a_core_are_plausible_and_sourced(core):
    assert 1 <= core.macs_per_cycle <= 64 and 0.5e9 <= core.clock_hz <= 6e9 and 1e9 <= core.bandwidth <= 1e11
    assert core.l1_bytes < core.l2_bytes and core.source


@given(st.sampled_from([t.name for t in known_targets()]), st.integers(1, 256))
def test_threads_change_nothing_else(name, threads):
    plain, threaded = parse_target(name), parse_target(f"{name},threads={threads}")
    assert threaded.threads == threads and threaded.core == plain.core and threaded.cpu == plain.cpu


@given(st.sampled_from([t.name for t in known_targets()]), st.floats(0.1, 6.0))
def test_a_clock_changes_the_clock_and_what_errors_are_told(name, ghz):
    plain, clocked = parse_target(name), parse_target(f"{name},clock={ghz:.6f}GHz")
    assert clocked.core.clock_hz == pytest.approx(ghz * 1e9, rel=1e-4)
    same = replace(clocked.core, clock_hz=plain.core.clock_hz, board=plain.core.board, errors=plain.core.errors)
    assert replace(clocked, core=same, name=name) == plain


@pytest.mark.parametrize(
    ("text", "hertz"), [("1.8GHz", 1.8e9), ("900MHz", 9e8), ("1400 mhz", 1.4e9), ("0.1ghz", 1e8), ("6GHz", 6e9)]
)
def test_a_clock_is_told_in_gigahertz_or_megahertz(text, hertz):
    assert parse_target(f"arm:cortex-a72, clock={text} ,threads=2").core.clock_hz == pytest.approx(hertz)


def test_a_board_keeps_its_errors_at_another_clock_and_a_core_gets_those_of_any_board():
    assert parse_target("rpi4,clock=1.5GHz").core.errors == parse_target("rpi4").core.errors
    core, other = parse_target("arm:cortex-a72").core, parse_target("arm:cortex-a72,clock=2GHz").core
    assert (core.board, other.board, other.errors.measured) == ("Raspberry Pi 4", "", ())
    assert all(
        other.errors.of(name) >= max(core.errors.of(name), core.errors.elsewhere) for name in ("float32", "int8")
    )


def test_a_clock_beside_the_target_is_one_of_its_options():
    assert with_clock("arm", None) == "arm" and with_clock("arm,threads=2", "2GHz") == "arm,threads=2,clock=2GHz"
    with pytest.raises(UsageError, match="one clock"):
        with_clock("arm,clock=1GHz", "2GHz")


@pytest.mark.parametrize("name", CORES_32)
def test_a_core_of_32_bits_is_built_for_armv7_with_what_it_has(name):
    target = parse_target(name)
    assert target.triple.startswith("armv7") and target.core.vector_registers == 16 and "+neon" in target.features
    assert ("+vfp4" in target.features) == (name != "cortex-a9")


def test_a_core_alone_is_that_core_under_linux():
    assert parse_target("cortex-a76").core == parse_target("arm:cortex-a76").core
    assert parse_target("cortex-a76").cpu == "cortex-a76"


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("aarch64", "arm"),
        ("ARM64", "arm"),
        ("raspberrypi4", "rpi4"),
        ("Raspberry Pi 4", "rpi4"),
        ("raspberry-pi-5", "rpi5"),
        ("pi3b+", "rpi3"),
        ("rpi-4,threads=4", "rpi4,threads=4"),
        ("a72", "cortex-a72"),
        ("arm:cortexa76", "arm:cortex-a76"),
        ("cortex_x1", "cortex-x1"),
        ("neoverse_n1", "neoverse-n1"),
        ("x86_64", "x86-64"),
        ("amd64", "x86-64"),
        ("armhf", "armv7"),
        ("android", "android-arm64"),
        ("native", "host"),
    ],
)
def test_names_that_others_use_stand_for_ours(text, ours):
    assert parse_target(text) == replace(parse_target(ours), name=text)


def test_what_is_known_is_listed_once():
    with pytest.raises(UsageError) as caught:
        parse_target("riscv")
    listed = str(caught.value).partition("known: ")[2].partition(" (")[0].split(", ")
    assert len(listed) == len(set(listed)) > 20


def test_every_claim_of_a_core_has_a_source():
    assert not [core.name for core in CORES.values() if "memory" in core.source or "looked up" in core.source]


def test_a_board_has_its_core_and_armv7_has_sixteen_registers():
    assert [parse_target(b).cpu for b in ("rpi3", "rpi4", "rpi5")] == ["cortex-a53", "cortex-a72", "cortex-a76"]
    armv7 = parse_target("armv7")
    assert armv7.triple.startswith("armv7") and "+neon" in armv7.features and armv7.core.vector_registers == 16
    assert parse_target("android-arm64").triple.startswith("aarch64-linux-android")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("arn", "did you mean arm"),
        ("", "known: arm"),
        ("arm:cortex-a67", "did you mean cortex-a"),
        ("armv7:apple-m1", "not known for target 'armv7'"),
        ("rpi4:cortex-a72", "names its core already"),
        ("arm,thread=3", "threads=N"),
        ("arm,threads=0", "1..256"),
        ("arm,threads=two", "whole number"),
        ("arm,clock=2", "such as 1.8GHz"),
        ("arm,clock=", "from 0.1GHz to 6GHz"),
        ("arm,clock=7GHz", "from 0.1GHz to 6GHz"),
        ("arm,clock=99MHz", "from 0.1GHz to 6GHz"),
        ("arm,clock=-1GHz", "from 0.1GHz to 6GHz"),
        ("arm,clock=nanGHz", "from 0.1GHz to 6GHz"),
    ],
)
def test_a_wrong_target_is_refused_with_what_is_known(text, says):
    with pytest.raises(UsageError, match=None) as caught:
        parse_target(text)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["arm", "cortex-a53", "cortex-a72", "armv7", "armv7:cortex-a55", "x86-64", "rpi4", "android-arm64"]
)
def test_a_core_without_fp16_arithmetic_is_refused_with_those_that_have_it(text):
    with pytest.raises(UsageError) as caught:
        with_arithmetic(parse_target(text), FLOAT16)
    assert all(core in str(caught.value) for core in FP16_CORES) and "\n" not in str(caught.value)
    assert with_arithmetic(parse_target(text), FLOAT32) == parse_target(text)


@pytest.mark.parametrize("core", FP16_CORES)
def test_fp16_arithmetic_doubles_what_a_register_holds(core):
    full = parse_target(f"arm:{core},threads=2")
    half = with_arithmetic(full, FLOAT16)
    assert half.lanes == 2 * full.lanes == 8 and half.value_bytes == 2 and half.threads == 2
    assert half.macs_per_cycle == 2 * full.macs_per_cycle == 2 * full.core.macs_per_cycle


def test_a_core_says_whether_it_has_float16():
    assert has_float16(parse_target("cortex-a76")) and not has_float16(parse_target("arm"))


def test_floats_are_float32_or_float16_where_a_model_brings_its_integers():
    assert [floats_of(arithmetic.name) for arithmetic in ARITHMETICS] == list(ARITHMETICS)
    with pytest.raises(UsageError, match="--precision is int8; here it is float32 or float16"):
        floats_of("int8")


def test_an_arithmetic_has_the_name_that_recipes_and_reports_give_it():
    assert [str(arithmetic) for arithmetic in ARITHMETICS] == ["float32", "float16"]
    assert all(arithmetic_named(arithmetic.name) is arithmetic for arithmetic in ARITHMETICS)
    with pytest.raises(UsageError, match="float32, float16"):
        arithmetic_named("bfloat16")


def test_an_arithmetic_tells_its_types_apart():
    integers = Arithmetic("int8", "int8", "int8", "int32", "int8 arithmetic")
    target = replace(parse_target("arm"), arithmetic=integers)
    assert (target.value_bytes, target.lanes) == (1, 16) and "inputs and outputs float32" in target.computes


def test_every_part_number_of_arm_stands_for_a_core_that_is_known():
    assert set(_ARM_PARTS.values()) <= {*CORES, *CORES_32}


def test_the_host_is_this_machine():
    target = parse_target("host")
    assert target.core == host_core() and target.triple == host_triple() and target.cpu == target.core.name


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"vendor_id": "AuthenticAMD", "cpu family": "25", "flags": "avx avx2 fma"}, "x86-64"),
        ({"flags": "ssse3 sse4_1 sse4_2 popcnt"}, "x86-64-v2"),
        ({"flags": "avx2 fma bmi1 bmi2 f16c movbe"}, "x86-64-v3"),
        ({"flags": "avx512f avx512bw avx512vl avx512dq avx512cd avx2 fma bmi2 movbe"}, "x86-64-v4"),
        (
            {
                "vendor_id": "GenuineIntel",
                "cpu family": "6",
                "model": "85",
                "flags": "avx512f avx512bw avx512vl avx512dq avx512cd avx2 fma",
            },
            "skylake-avx512",
        ),
        ({}, "x86-64"),
    ],
)
def test_a_processor_gets_no_name_beyond_its_flags(fields, name):
    assert x86_name(fields) == name


def test_cpuinfo_is_read_for_the_first_processor():
    assert cpu_fields("processor\t: 0\nflags\t\t: a b\n\nprocessor\t: 1\n") == {"processor": "0", "flags": "a b"}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")
def test_cores_that_a_process_may_not_use_do_not_count():
    every = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(every)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, every)
    assert usable_cores() == len(every)
