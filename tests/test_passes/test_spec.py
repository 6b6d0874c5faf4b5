"""The text of passes: what is written can be read back, and what is wrong is said in one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir import passes
from pfir.errors import UsageError
from pfir.passes import spec
from pfir.passes.base import Change, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.spec import describe, format_pass, parse


@dataclass(frozen=True)
class Shrink(Pass):
    """Shrink something.

    Its fields have every type that a field may have.
    """

    name: ClassVar[str] = "shrink"
    ratios: tuple[tuple[str, float], ...] = ()
    layers: tuple[str, ...] = ("all",)
    sizes: tuple[int, ...] = ()
    share: dict[str, float] = field(default_factory=dict)
    ratio: float | None = None
    align: int = 4
    exact: bool = False
    criterion: str = "magnitude"

    def __post_init__(self):
        if self.align < 1:
            raise UsageError(f"align is {self.align}; it must be at least 1")

    def apply(self, model, context):
        return Change(False)


@dataclass(frozen=True)
class Split(Pass):
    """Split something."""

    bits: int
    name: ClassVar[str] = "split"

    def apply(self, model, context):
        return Change(False)


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setattr(spec, "PASSES", (*passes.PASSES, Shrink, Split))


names = st.text(st.characters(codec="utf-8"), max_size=8)
numbers = st.floats(allow_nan=False)
shrinks = st.builds(
    Shrink,
    ratios=st.dictionaries(names, numbers, max_size=3).map(lambda d: tuple(d.items())),
    layers=st.lists(names, max_size=3).map(tuple),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    share=st.dictionaries(names, numbers, max_size=3),
    ratio=st.none() | numbers,
    align=st.integers(1),
    exact=st.booleans(),
    criterion=names | st.sampled_from(["none", "true", "a,b", "1", "{}", '"']),
)


@given(each=shrinks | st.builds(Split, bits=st.integers()))
def test_what_is_written_can_be_read_back(each):
    assert parse(format_pass(each)) == (each,)


@given(each=st.lists(shrinks, min_size=1, max_size=3))
def test_pipelines_can_be_read_back(each):
    assert parse(",".join(map(format_pass, each))) == tuple(each)


def test_defaults_are_left_out():
    assert format_pass(Shrink()) == "shrink"
    assert format_pass(Shrink(ratios=(("conv1", 0.25), ("a b", 0.5)), align=8)) == (
        'shrink{ratios=conv1:0.25,"a b":0.5 align=8}'
    )


def test_the_form_of_the_design_is_read():
    first, second = parse("shrink{ratios=conv1:0.25,layer1.0:0.5 align=4},simplify")
    assert first == Shrink(ratios=(("conv1", 0.25), ("layer1.0", 0.5)))
    assert second == Simplify()


def test_blanks_do_not_matter_between_pieces():
    assert parse(" simplify ,\n fold-batch-norm{ } ") == (Simplify(), FoldBatchNorm())
    assert parse("shrink{ align = 8   sizes=1, 2 }") == (Shrink(align=8, sizes=(1, 2)),)


def test_names_as_exporters_write_them_need_no_quotes():
    (found,) = parse("shrink{ratios=/layer1/layer1.0/conv1/Conv:0.5}")
    assert found.ratios == (("/layer1/layer1.0/conv1/Conv", 0.5),)


def test_names_with_signs_are_quoted():
    (found,) = parse('shrink{ratios="model/x:0":0.5,"say \\"no\\"":0.25}')
    assert found.ratios == (("model/x:0", 0.5), ('say "no"', 0.25))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 1 of the passes: expected the name of a pass, found the end"),
        ("simplify,", "position 10 of the passes: expected the name of a pass, found the end"),
        ("simplify fold", "position 10 of the passes: expected ',' or the end, found 'f'"),
        ("shrink{", "position 8 of the passes: expected a field or '}', found the end"),
        ("shrink{align 4}", "position 14 of the passes: expected '=', found '4'"),
        ("shrink{align=}", "position 14 of the passes: expected a value, found '}'"),
        ("shrink{sizes=[1]}", "position 15 of the passes: expected ']', found '1'"),
        ('shrink{criterion="a\\x"}', "position 20 of the passes: Invalid \\escape"),
        ("simplfy", "no pass is called 'simplfy' (position 1); did you mean simplify?"),
        ("zzz", "no pass is called 'zzz' (position 1); there are "),
        ("simplify{x=1}", "simplify has no field 'x' (position 10); it has no fields"),
        ("shrink{alig=1}", "shrink has no field 'alig' (position 8); did you mean align? its fields are align"),
        ("shrink{align=1 align=2}", "shrink: field align is given twice (position 16)"),
        ("split", "split needs the field bits: split{bits=...}"),
        ("shrink{align=0.5}", "shrink: align must be a whole number, not '0.5' (position 14)"),
        ("shrink{align=1_0}", "shrink: align must be a whole number, not '1_0' (position 14)"),
        ('shrink{align="4"}', "shrink: align must be a whole number, not '4' (position 14)"),
        ("shrink{ratio=much}", "shrink: ratio must be a number, not 'much' (position 14)"),
        ("shrink{exact=yes}", "shrink: exact must be true or false, not 'yes' (position 14)"),
        ("shrink{align=1,2}", "shrink: align must be a whole number, not '1,2'"),
        ("shrink{align=[]}", "shrink: align must be a whole number, not an empty list"),
        ("shrink{sizes=a:1}", "shrink: sizes must be a list of values, not a:1 (position 14)"),
        ("shrink{ratios=0.5}", "shrink: ratios must be name:value pairs, not '0.5' (position 15)"),
        ("shrink{ratios=a:x}", "shrink: ratios of a must be a number, not 'x' (position 17)"),
        ("shrink{ratios=a:1,a:2}", "shrink: ratios gives 'a' twice"),
        ("shrink{align=0}", "shrink: align is 0; it must be at least 1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_pass_is_described_in_a_line():
    lines = list(describe())
    assert len(lines) == len(spec.PASSES)
    assert "split{bits=?}  Split something." in lines
    assert any(line.startswith("shrink{ratios=[] layers=all") for line in lines)


def test_the_names_in_the_table_are_unique():
    assert len({cls.name for cls in passes.PASSES}) == len(passes.PASSES)
