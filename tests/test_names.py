from pfir.names import printable, visible


def test_invisible_characters_are_shown_as_escapes():
    assert visible("a\x1b[31m\u202eb\nc\u2028ü") == "a\\x1b[31m\\u202eb\\nc\\u2028ü"


def test_what_is_visible_stays_and_is_escaped_only_once():
    assert visible("Größe 25 % \\x1b") == visible(visible("Größe 25 % \\x1b")) == "Größe 25 % \\x1b"


def test_names_that_differ_never_look_the_same():
    assert printable("a\x1b") != printable("a\\x1b")
