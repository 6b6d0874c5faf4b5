from pfir.compile.outcome import Outcome


def test_a_dry_run_prints_its_lines_and_no_table(capsys):
    Outcome({}, True, None, ("plan: 10 min", "reachable: 3x")).print()
    assert capsys.readouterr().out == "plan: 10 min\nreachable: 3x\n"


def test_a_finished_run_ends_with_what_was_reached(report, finished, capsys):
    Outcome(report, True, finished).print()
    assert f"{finished}/" in capsys.readouterr().out.splitlines()[-1]
