import io

import pytest

from pfir.report import progress
from pfir.report.progress import Bars, Clock, Lines, Silent, left_of, progress_for, roughly


@pytest.fixture
def clock(monkeypatch):
    """What the clock says, to be set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_elsewhere_than_on_a_terminal_every_stage_and_note_is_a_line():
    stream = io.StringIO()
    lines = progress_for(stream)
    lines.stage("fine-tune")
    lines.note("12 trials")
    lines.close()
    first, second = stream.getvalue().splitlines()
    assert first.endswith("fine-tune") and second == "  12 trials"


def test_stages_are_told_in_plain_words():
    stream = io.StringIO()
    lines = Lines(stream)
    lines.stage("rank branches")
    lines.stage("search for 1.62x")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("rank residual branches") and second.endswith("search for 1.62x")


def test_steps_are_printed_now_and_then_only(clock):
    stream = io.StringIO()
    lines = Lines(stream)
    lines.stage("search")
    for now, share in ((101, 0.0), (110.5, 0.04), (111, 0.6)):
        clock[0] = now
        lines.step(share, "trial")
    assert stream.getvalue().splitlines()[1:] == ["    4% trial"]


def test_with_a_plan_the_time_left_of_the_whole_run_is_told(clock):
    stream = io.StringIO()
    lines = Lines(stream)
    lines.budget(240.0)
    clock[0] += 60
    lines.stage("search")
    clock[0] += 70
    lines.step(0.9, "trial 3")
    clock[0] += 130
    lines.step(1.0, "trial 4")
    told = [line.split(", ", 1)[1] for line in stream.getvalue().splitlines()]
    assert told == ["about 3 min left of 4 min", "about 2 min left of 4 min", "about 20 s over the planned 4 min"]


def test_without_a_plan_the_pace_of_the_stage_is_told(clock):
    told = Clock()
    told.start_stage()
    clock[0] += 30
    assert str(told) == ""
    told.share = 0.25
    assert str(told) == "about 2 min left of this stage"
    told.share = 0.75
    assert str(told) == "about 10 s left of this stage"
    told.start_stage()
    assert str(told) == ""


@pytest.mark.parametrize(("seconds", "text"), [(3, "a few seconds"), (44, "about 40 s"), (100, "about 2 min")])
def test_no_more_digits_are_told_than_anyone_knows(seconds, text):
    assert roughly(seconds) == text and left_of(seconds, 600) == f"{text} left of 10 min"


def test_bars_show_the_time_left(capsys, clock):
    bars = Bars()
    bars.budget(240.0)
    bars.stage("search")
    assert str(bars._bars.tasks[0].fields["left"]) == "about 4 min left of 4 min"
    bars.close()


def test_bars_take_names_that_look_like_markup(capsys):
    bars = Bars()
    bars.stage("[bold]conv[/nonsense]")
    bars.step(0.5, "[red]")
    bars.note("[/x] note")
    bars.close()
    assert "[/x] note" in capsys.readouterr().err


def test_silent_progress_prints_nothing(capsys):
    silent = Silent()
    silent.stage("a")
    silent.note("b")
    silent.step(1.0, "c")
    silent.budget(3.0)
    silent.close()
    assert capsys.readouterr() == ("", "")
