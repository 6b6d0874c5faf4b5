import io
from dataclasses import replace

from pfir.report import Verification, build, last_line, show
from pfir.report.terminal import lines, rows
from pfir.report.weights import Files
from tests.test_report.sample import finished


class Terminal(io.StringIO):
    def isatty(self):
        return True


def without_labels(fidelity):
    run = finished()
    return replace(run, result=replace(run.result, accuracy=None, fidelity=fidelity))


def test_the_last_line_says_what_was_reached():
    assert last_line(build(finished()), "out/") == (
        "about 2.5x faster (estimate, ±25 %, Cortex-A72 at 1.5 GHz), accuracy 93.39 -> 93.12 %, 3.44 MB -> 1.38 MB, "
        "verified on emulated aarch64: out/"
    )


def test_the_last_line_says_when_no_accuracy_was_measured():
    line = last_line(build(without_labels(0.95)), "out/")
    assert "no accuracy was measured" in line and "do not ship" not in line


def test_the_last_line_warns_below_fidelity_0_9():
    made_up, given = (build(replace(without_labels(0.8), fidelity_data=kind)) for kind in ("generated", "given"))
    assert last_line(made_up, "out/").endswith("do not ship without data (--data)")
    assert last_line(given, "out/").endswith("do not ship without a measure of your own")
    assert "on data (--data)" in str(made_up["notes"]) and "--data" not in str(given["notes"])


def test_the_last_line_says_when_the_goal_was_missed_or_nothing_verified():
    run = finished(met=False, verification=Verification("host", False, skipped="no linker"))
    line = last_line(build(run), "out/")
    assert line.startswith("goal not met: ") and "not verified (no linker)" in line


def test_the_last_line_says_where_the_library_was_not_verified():
    elsewhere = Verification("host", True, not_verified_on="aarch64", reason="no network")
    line = last_line(build(finished(verification=elsewhere)), "out/")
    assert line.endswith("verified on host, not verified on aarch64: out/")


def test_the_last_line_says_that_there_is_nothing_to_verify():
    check = Verification("host", None, skipped="not applicable: ONNX Runtime itself runs the result")
    line = last_line(build(finished(verification=check)), "out/")
    assert line.endswith("verification not applicable: out/") and "not verified" not in line


def test_control_characters_are_escaped():
    report = build(finished(notes=("a\x1b[2Jb",)))
    assert "\x1b" not in "".join(lines(report, "out\x1b/"))
    screen = Terminal()
    show(report, "out\x07/", screen)
    assert "\x1b[2J" not in screen.getvalue() and "\x07" not in screen.getvalue()


def test_elsewhere_than_a_terminal_lines_are_plain():
    stream = io.StringIO()
    show(build(finished()), "out/", stream)
    assert "\x1b" not in stream.getvalue() and stream.getvalue().splitlines()[-1].endswith(": out/")


def test_brackets_in_names_are_no_markup():
    screen = Terminal()
    show(build(finished(model={"name": "net[bold]x[/nope]"})), "o[red]ut/", screen)
    assert "net[bold]x[/nope]" in screen.getvalue() and "o[red]ut/" in screen.getvalue()


def test_the_packed_file_has_a_row():
    found = rows(build(finished(files=Files(4_000_000, 1_500_000, 1_000_000))))
    assert ("file, packed", "4.00 MB", "1.00 MB", "4.00x") in found


def test_rows_that_neither_side_has_are_left_out():
    run = finished()
    bare = replace(
        run, baseline=replace(run.baseline, instructions=None), result=replace(run.result, instructions=None)
    )
    assert "instructions" not in [row[0] for row in rows(build(bare))]
