"""What `pfir tune` found, in words."""

from __future__ import annotations

from collections.abc import Mapping


def lines(found: Mapping[str, object]) -> list[str]:
    """The figures for a reader: a line for each kernel that gained, then what became of all of them and where it is."""
    rows = found["kernels"]
    gained = [row for row in rows if row["gain"] > 1]
    said = [line(row) for row in gained]
    if rows:
        before, after = (1e3 * sum(row["calls"] * row[name] for row in rows) for name in ("modelled_s", "fastest_s"))
        about = f"{len(gained)} of {counted(len(rows), 'kernel')} faster than as modelled"
        said.append(f"{about}; an inference spends {before:.3f} -> {after:.3f} ms in what was measured")
    if found["earlier"]:
        said.append(f"{counted(len(found['earlier']), 'kernel')} measured before (--again measures anew)")
    if found["left"]:
        said.append(f"{counted(len(found['left']), 'kernel')} not measured; the same command goes on there")
    return [*said, f"kept in {found['file']} for {found['core']}" if rows or found["earlier"] else "nothing is kept"]


def plan(found: Mapping[str, object]) -> list[str]:
    """What a run would do: the kernels in the order in which they would be measured."""
    count = counted(len(found["left"]), "kernel")
    before = f", {len(found['earlier'])} measured before" if found["earlier"] else ""
    return [*found["left"], f"{count} to measure for {found['core']}{before}; to be kept in {found['file']}"]


def line(row: Mapping[str, object]) -> str:
    """One kernel: its time by the model of the core, and where another way is faster, by how much."""
    modelled = f"{row['kernel']}: {1e6 * row['modelled_s']:.1f}"
    if row["gain"] <= 1:
        return f"{modelled} us as modelled, the fastest of {counted(row['ways'], 'way')}"
    return f"{modelled} -> {1e6 * row['fastest_s']:.1f} us ({row['gain']:.2f}x), {row['fastest']}"


def counted(count: int, what: str) -> str:
    """`1 kernel`, `2 kernels`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
