"""Names and messages from outside, made safe to show on a terminal and in one line."""

from __future__ import annotations


def printable(name: str) -> str:
    """The name with everything escaped that is no visible character: control characters, line ends, and the marks
    that turn the direction of text. Spaces inside and letters of any language stay; a backslash is doubled, so two
    names never look the same."""
    return visible(name.replace("\\", "\\\\"))


def visible(text: object) -> str:
    """A message in one line: what is no visible character is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))
