"""What a parameter allows: a range or several values, either end of which may be the cheap one."""

import pytest

from pfir.errors import UsageError
from pfir.space import Parameter

RATIO = Parameter("ratio", 0.0, 0.9, 0.3)
BITS = Parameter("bits", 2.0, 8.0, 8.0, values=(2.0, 4.0, 8.0), low_is_cheap=True)


def test_each_parameter_tells_which_end_is_cheap():
    assert (RATIO.cheapest, RATIO.dearest) == (0.9, 0.0)
    assert (BITS.cheapest, BITS.dearest) == (2.0, 8.0)


def test_the_nearest_value_is_one_that_may_be_chosen_and_of_two_the_dearer():
    assert [RATIO.nearest(v) for v in (-1.0, 0.5, 2.0)] == [0.0, 0.5, 0.9]
    assert [BITS.nearest(v) for v in (0.0, 2.9, 3.0, 5.0, 6.0, 99.0)] == [2.0, 2.0, 4.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("parameter", [RATIO, BITS], ids=["range", "values"])
def test_a_value_comes_back_from_its_share(parameter):
    for value in parameter.values or (0.0, 0.25, 0.9):
        assert 0 <= parameter.share(value) <= 1
        assert parameter.at(parameter.share(value)) == pytest.approx(value)


def test_every_value_has_an_equal_part_of_the_way():
    assert [BITS.at(s) for s in (0.0, 0.3, 0.34, 0.6, 0.7, 1.0)] == [2.0, 2.0, 4.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize("values", [(4.0, 2.0, 8.0), (2.0, 4.0), (2.0, 2.0, 8.0)])
def test_values_that_do_not_rise_from_low_to_high_are_refused(values):
    with pytest.raises(UsageError, match="rise"):
        Parameter("bits", 2.0, 8.0, 8.0, values=values)
