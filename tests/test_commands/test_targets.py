"""The list of targets and cores."""

import pytest

from pfir.commands.targets import lines
from pfir.cores import CORES, CORES_32, X86_LEVELS
from pfir.target import known_targets


@pytest.mark.parametrize("width", [0, 80, 100, 160])
def test_no_line_is_longer_than_the_terminal(width):
    assert max(map(len, lines(width))) <= max(width, 100)


def test_every_target_and_core_has_its_clock_board_error_and_source():
    text = lines(200)
    for target in known_targets():
        if ":" not in target.name:
            assert [line for line in text if line.startswith(f"{target.name} ") and target.about in line]
    for core in (*CORES.values(), *CORES_32.values(), *X86_LEVELS.values()):
        told = [line for line in text if line.startswith(f"{core.name} ") and core.source in line]
        assert len(told) == 1 and core.board in told[0] and f"{core.errors.int8:.0%}" in told[0]
        assert f"{core.clock_hz / 1e9:.3g} GHz" in told[0]


def test_an_arithmetic_that_a_core_has_not_gets_no_error():
    line = next(line for line in lines(200) if line.startswith("cortex-a72 ") and "Raspberry" in line)
    assert line.split("Raspberry Pi 4")[1].split()[1] == "-"
