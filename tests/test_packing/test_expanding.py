import numpy as np
import pytest

from pfir.errors import FrontendError
from pfir.packing.expanding import Expander
from pfir.packing.forms import smallest
from pfir.packing.layout import ALL, BITMAP, GAPS, PALETTE, PLAIN, Directory, Entry, PackedFile
from tests.test_packing.test_forms import CASES


def _expander(entry, **streams):
    return Expander(Directory((PackedFile("", 0, 0, (entry,)),), ()), streams)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_expanding_undoes_the_form(case):
    kept = smallest(case[0].view(f"<u{case[0].itemsize}"))
    assert bytes(_expander(kept.entry, **kept.parts).values(kept.entry)) == case[0].tobytes()


def test_an_index_beyond_the_palette_is_refused():
    entry = Entry(3, 2, ALL, PALETTE, 3, palette=2)
    with pytest.raises(FrontendError, match="beyond its palette"):
        _expander(entry, palette2=bytes(4), indices=bytes([0, 1, 2])).values(entry)


@pytest.mark.parametrize(
    ("entry", "streams"),
    [
        (Entry(8, 1, BITMAP, PLAIN, 3), {"bitmap": b"\xff"}),
        (Entry(8, 1, GAPS, PLAIN, 3, gaps=2), {"gaps": b"\x00\x00"}),
        (Entry(8, 1, GAPS, PLAIN, 3, gaps=3), {"gaps": b"\x00\x00\x09"}),
    ],
)
def test_places_that_do_not_fit_the_values_are_refused(entry, streams):
    with pytest.raises(FrontendError, match="places"):
        _expander(entry, plain1=b"abc", **streams).values(entry)


def test_gaps_longer_than_a_byte_are_told_in_several():
    array = np.zeros(2000, np.uint32)
    array[[254, 510, 1500]] = 3_000_000_000, 5, 7
    kept = smallest(array)
    assert kept.entry.places == GAPS and kept.entry.gaps > 3
    assert bytes(_expander(kept.entry, **kept.parts).values(kept.entry)) == array.tobytes()
