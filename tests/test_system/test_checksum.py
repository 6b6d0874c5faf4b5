"""Content with a checksum: whatever is damaged is noticed."""

from pfir.system.checksum import opened, sealed

CONTENT, OTHER = b"slow\0nodes\n", b"library"


def test_what_is_whole_is_given_back():
    assert opened(sealed(CONTENT, OTHER), OTHER) == CONTENT
    assert opened(sealed(b"")) == b""


def test_any_flipped_or_missing_byte_is_noticed():
    kept = sealed(CONTENT, OTHER)
    for i in range(len(kept)):
        assert opened(kept[:i] + bytes([kept[i] ^ 1]) + kept[i + 1 :], OTHER) is None
        assert opened(kept[:i], OTHER) is None
    assert opened(kept, OTHER[:-1]) is None and opened(kept) is None


def test_bytes_moved_from_one_part_into_the_next_are_noticed():
    assert opened(sealed(b"ab", b"c"), b"bc") is None and opened(sealed(b"a", b"bc"), b"b", b"c") is None
