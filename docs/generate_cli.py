"""Writes cli.md, the reference of the command line, from the commands themselves: `python docs/generate_cli.py`."""

from pathlib import Path

import typer.main

from pfir.cli import PROGRAM, app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made from the commands by `python docs/generate_cli.py`; a test says when it is out of date.
"""
CODES = """
## Exit codes

| code | meaning |
|---|---|
| 0 | done; every goal is met |
| 1 | a fault of pfir, a failed verification too |
| 2 | wrong use: an option, a goal, the output folder |
| 3 | the model or the data cannot be used |
| 4 | a goal is not reached; what can be reached is said, and the best found is written |
| 5 | the device did not answer as it should |
| 130 | interrupted; the last line is the command that goes on |
"""


def text() -> str:
    """The whole page."""
    root = typer.main.get_command(app)
    return HEAD + "".join(_section(name, command) for name, command in root.commands.items()) + CODES


def _section(name: str, command) -> str:
    arguments = " ".join(p.name.upper() for p in command.params if p.param_type_name == "argument")
    options = [p for p in command.params if p.param_type_name == "option"]
    rows = "".join(f"| {_names(p)} | {_value(p)} | {_about(p)} |\n" for p in options)
    table = f"\n| option | value | |\n|---|---|---|\n{rows}" if rows else ""
    usage = " ".join(part for part in (PROGRAM, name, arguments, "[OPTIONS]" if rows else "") if part)
    return f"\n## {PROGRAM} {name}\n\n    {usage}\n\n{command.help}\n{table}"


def _names(option) -> str:
    return ", ".join(f"`{name}`" for name in option.opts)


def _value(option) -> str:
    if option.is_flag:
        return "flag"
    if option.required:
        return "required"
    return "" if option.default in (None, "") else f"default `{option.default}`"


def _about(option) -> str:
    return option.help.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(text())
