"""Passes as text and back: `prune-channels{ratios=conv1:0.25,layer1.0:0.5 align=4},remove-dead-channels`."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pfir.errors import UsageError
from pfir.passes import PASSES
from pfir.passes.base import Pass

_BARE = re.compile(r"[^\s,:={}\[\]\"\x00-\x1f\x7f-\x9f]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORDS = {"none", "true", "false"}
_TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


def parse(text: str) -> tuple[Pass, ...]:
    """The passes that a text stands for.

    Passes are separated by commas; fields, in braces, by blanks; items of a field by commas. A name with other signs
    than letters, digits and the like is written in double quotes, with JSON's escapes.

    Raises:
        UsageError: Bad form (with the position), an unknown pass or field, a value of a wrong type or out of range.
    """
    return _Parser(text).passes()


def format_pass(each: Pass) -> str:
    """The text of a pass, fields at their default left out: `parse(format_pass(p)) == (p,)`."""
    hints = typing.get_type_hints(type(each))
    fields = [
        f"{f.name}={_format_value(hints[f.name], getattr(each, f.name))}"
        for f in dataclasses.fields(each)
        if not _is_default(f, getattr(each, f.name))
    ]
    return each.name + (f"{{{' '.join(fields)}}}" if fields else "")


def describe() -> Iterator[str]:
    """A line for each pass: its text with every field and default, and what it does."""
    for cls in PASSES:
        fields = " ".join(f"{f.name}={_default_text(cls, f)}" for f in dataclasses.fields(cls))
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        yield f"{cls.name}{{{fields}}}  {summary}" if fields else f"{cls.name}  {summary}"


def _default_text(cls: type[Pass], field: dataclasses.Field) -> str:
    default = _default(field)
    hint = typing.get_type_hints(cls)[field.name]
    return "?" if default is dataclasses.MISSING else _format_value(hint, default)


def _default(field: dataclasses.Field) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _is_default(field: dataclasses.Field, value: object) -> bool:
    default = _default(field)
    return type(default) is type(value) and default == value


@dataclass(frozen=True)
class _Atom:
    """A piece of a value: its text, whether it was quoted, and where it stands (from 1)."""

    text: str
    quoted: bool
    position: int


_Item = tuple[_Atom | None, _Atom]


class _Parser:
    """A parser of the text, by recursive descent; `_at` is the place of the next character."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def passes(self) -> tuple[Pass, ...]:
        found = [self._pass()]
        while self._take(","):
            found.append(self._pass())
        if self._at < len(self._text):
            self._fail("',' or the end")
        return tuple(found)

    def _pass(self) -> Pass:
        name = self._atom("the name of a pass")
        cls = _pass_class(name)
        fields: dict[str, object] = {}
        if self._take("{"):
            while not self._take("}"):
                self._field(cls, fields)
        for field in dataclasses.fields(cls):
            if _default(field) is dataclasses.MISSING and field.name not in fields:
                raise UsageError(f"{cls.name} needs the field {field.name}: {cls.name}{{{field.name}=...}}")
        return _construct(cls, fields)

    def _field(self, cls: type[Pass], fields: dict[str, object]) -> None:
        name = self._atom("a field or '}'")
        known = {f.name for f in dataclasses.fields(cls)}
        if name.text not in known:
            listed = f"its fields are {', '.join(sorted(known))}" if known else "it has no fields"
            close = difflib.get_close_matches(name.text, known, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise UsageError(f"{cls.name} has no field {name.text!r} (position {name.position}); {meant}{listed}")
        if name.text in fields:
            raise UsageError(f"{cls.name}: field {name.text} is given twice (position {name.position})")
        if not self._take("="):
            self._fail("'='")
        hint = typing.get_type_hints(cls)[name.text]
        fields[name.text] = _convert(hint, self._items(), f"{cls.name}: {name.text}")

    def _items(self) -> list[_Item]:
        if self._take("["):
            if not self._take("]"):
                self._fail("']'")
            return []
        items = [self._item()]
        while self._take(","):
            items.append(self._item())
        return items

    def _item(self) -> _Item:
        first = self._atom("a value")
        return (first, self._atom("a value")) if self._take(":") else (None, first)

    def _atom(self, expected: str) -> _Atom:
        self._skip_blanks()
        start = self._at
        for pattern in (_QUOTED, _BARE):
            match = pattern.match(self._text, start)
            if match:
                self._at = match.end()
                quoted = pattern is _QUOTED
                return _Atom(self._unquote(match[0], start) if quoted else match[0], quoted, start + 1)
        return self._fail(expected)

    def _unquote(self, text: str, start: int) -> str:
        try:
            return json.loads(text, strict=False)
        except json.JSONDecodeError as error:
            raise UsageError(f"position {start + 1 + error.pos} of the passes: {error.msg}") from error

    def _take(self, sign: str) -> bool:
        self._skip_blanks()
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip_blanks(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _fail(self, expected: str) -> typing.NoReturn:
        found = repr(self._text[self._at]) if self._at < len(self._text) else "the end"
        raise UsageError(f"position {self._at + 1} of the passes: expected {expected}, found {found}")


def _pass_class(name: _Atom) -> type[Pass]:
    known = {cls.name: cls for cls in PASSES}
    if name.text in known:
        return known[name.text]
    before, bracket, _ = name.text.partition("(")
    if bracket and before in known:
        raise UsageError(f"the fields of {before} stand in braces: {before}{{name=value}} (position {name.position})")
    close = difflib.get_close_matches(name.text, known, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(known))}"
    raise UsageError(f"no pass is called {name.text!r} (position {name.position}); {hint}")


def _construct(cls: type[Pass], fields: dict[str, object]) -> Pass:
    try:
        return cls(**fields)
    except UsageError as error:
        raise UsageError(f"{cls.name}: {error}") from error


def _convert(hint: object, items: list[_Item], what: str) -> object:
    """A value of the annotated type.

    Raises:
        UsageError: It is of another type; the text says which was expected.
    """
    options = _options(hint)
    if type(None) in options and _is_none(items):
        return None
    hint = next(o for o in options if o is not type(None))
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(typing.get_args(hint)[0], items, what)
    if typing.get_origin(hint) is not None and issubclass(typing.get_origin(hint), Mapping):
        return dict(_pairs(typing.get_args(hint), items, what))
    if hint is str and len(items) == 1:
        return _joined(items[0])
    if len(items) != 1 or items[0][0] is not None:
        raise UsageError(f"{what} must be {_TYPE_NAMES[hint]}, not {_show(items)}")
    return _convert_atom(hint, items[0][1], what)


def _joined(item: _Item) -> str:
    """A text, in which a colon may stand without quotes."""
    key, value = item
    return value.text if key is None else f"{key.text}:{value.text}"


def _options(hint: object) -> tuple[object, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _is_none(items: list[_Item]) -> bool:
    return len(items) == 1 and items[0][0] is None and items[0][1].text == "none" and not items[0][1].quoted


def _convert_tuple(inner: object, items: list[_Item], what: str) -> tuple:
    if typing.get_origin(inner) is tuple:
        return tuple(_pairs(typing.get_args(inner), items, what))
    for key, value in items:
        if key is not None:
            raise UsageError(f"{what} must be a list of values, not {key.text}:{value.text} (position {key.position})")
    return tuple(_convert_atom(inner, value, what) for _, value in items)


def _pairs(hints: Sequence[object], items: list[_Item], what: str) -> list[tuple]:
    pairs = []
    for key, value in items:
        if key is None:
            raise UsageError(f"{what} must be name:value pairs, not {value.text!r} (position {value.position})")
        pairs.append((_convert_atom(hints[0], key, what), _convert_atom(hints[1], value, f"{what} of {key.text}")))
    names = [name for name, _ in pairs]
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise UsageError(f"{what} gives {twice!r} twice")
    return pairs


def _convert_atom(hint: object, atom: _Atom, what: str) -> object:
    try:
        return _READ[hint](atom)
    except ValueError:
        raise UsageError(f"{what} must be {_TYPE_NAMES[hint]}, not {atom.text!r} (position {atom.position})") from None


def _read_bool(atom: _Atom) -> bool:
    if atom.quoted or atom.text not in ("true", "false"):
        raise ValueError(atom.text)
    return atom.text == "true"


def _read_number(kind: type) -> typing.Callable[[_Atom], float]:
    def read(atom: _Atom) -> float:
        # Python would take 1_000 and surrounding blanks too.
        if atom.quoted or "_" in atom.text:
            raise ValueError(atom.text)
        return kind(atom.text)

    return read


_READ = {int: _read_number(int), float: _read_number(float), bool: _read_bool, str: lambda atom: atom.text}


def _show(items: list[_Item]) -> str:
    texts = [value.text if key is None else f"{key.text}:{value.text}" for key, value in items]
    return repr(",".join(texts)) if texts else "an empty list"


def _format_value(hint: object, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ",".join(f"{_format_atom(k)}:{_format_atom(v)}" for k, v in value.items()) or "[]"
    if not isinstance(value, tuple):
        return _format_atom(value)
    pairs = any(isinstance(v, tuple) for v in value)
    return ",".join(":".join(map(_format_atom, v)) if pairs else _format_atom(v) for v in value) or "[]"


def _format_atom(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    if not isinstance(value, str):
        return str(value)
    return value if _BARE.fullmatch(value) and value not in _WORDS else json.dumps(value)
