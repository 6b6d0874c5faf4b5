import io

from pfir.report import progress
from pfir.report.progress import Bars, Lines, Silent, progress_for


def test_elsewhere_than_on_a_terminal_every_stage_and_note_is_a_line():
    stream = io.StringIO()
    lines = progress_for(stream)
    lines.stage("search")
    lines.note("12 trials")
    lines.close()
    first, second = stream.getvalue().splitlines()
    assert first.endswith("search") and second == "  12 trials"


def test_steps_are_printed_now_and_then_only(monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 11.5, 12.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    lines = Lines(stream)
    lines.stage("search")
    for share in (0.1, 0.5, 0.6):
        lines.step(share, "trial")
    assert stream.getvalue().splitlines()[1:] == ["   50% trial"]


def test_bars_take_names_that_look_like_markup(capsys):
    bars = Bars()
    bars.stage("[bold]conv[/nonsense]")
    bars.step(0.5, "[red]")
    bars.note("[/x] note")
    bars.close()
    assert "[/x] note" in capsys.readouterr().err


def test_silence_says_nothing(capsys):
    silent = Silent()
    silent.stage("a")
    silent.note("b")
    silent.step(1.0, "c")
    silent.close()
    assert capsys.readouterr() == ("", "")
