import pytest

from pfir.report.svg import Axis, Mark, front, ticks


def test_the_front_holds_what_nothing_beats():
    marks = [Mark(1, 0.5), Mark(2, 0.4), Mark(2, 0.9), Mark(3, 0.9), Mark(4, 1.0)]
    assert [(m.x, m.y) for m in front(marks)] == [(1, 0.5), (2, 0.9), (4, 1.0)]


@pytest.mark.parametrize("low, high", [(0, 1), (0.131, 0.137), (-5, 1e6), (61, 99.7)])
def test_ticks_are_even_and_inside(low, high):
    found = ticks(low, high)
    steps = {round((b - a) / (high - low), 9) for a, b in zip(found, found[1:], strict=False)}
    assert len(steps) == 1 and low <= found[0] and found[-1] <= high and 2 <= len(found) <= 8


def test_an_axis_holds_values_inside():
    axis = Axis(0, 10, 100, 200)
    assert (axis.at(0), axis.at(5), axis.at(10), axis.at(99)) == (100, 150, 200, 200)
