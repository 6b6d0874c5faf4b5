"""What a run of many cases showed, as a page."""

from __future__ import annotations

from collections import Counter, defaultdict

from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.verdict import CODES, Verdict


class Summary:
    """Verdicts added up."""

    def __init__(self) -> None:
        self.faults: dict[str, list[Verdict]] = defaultdict(list)
        self._counts: dict[str, Counter] = defaultdict(Counter)
        self._slowest: dict[str, Verdict] = {}
        self._largest: dict[str, Verdict] = {}
        self._cpu_s: Counter = Counter()

    def add(self, found: Verdict) -> None:
        kind = found.kind
        self._counts[kind][found.code if found.code in CODES else "other"] += 1
        self._cpu_s[kind] += found.cpu_s
        if found.fault:
            self.faults[found.fault].append(found)
        if kind not in self._slowest or self._slowest[kind].seconds < found.seconds:
            self._slowest[kind] = found
        if kind not in self._largest or self._largest[kind].peak_bytes < found.peak_bytes:
            self._largest[kind] = found

    def text(self, seed: int) -> str:
        total = sum(sum(c.values()) for c in self._counts.values())
        command = f"python -m benchmarks.fuzz --cases {total} --seed {seed}"
        lines = ["# Fuzzing", "", f"    {command}", "", *self._table(), "", *self._faults(), ""]
        return "\n".join(lines)

    def _table(self) -> list[str]:
        heads = [*(f"exit {c}" for c in CODES), "other"]
        lines = [f"| kind | cases | {' | '.join(heads)} | slowest, s | most memory, MB | CPU, s |"]
        lines.append("|---|" + "---:|" * (len(heads) + 4))
        for kind, ends in self._counts.items():
            each = " | ".join(str(ends[c]) for c in (*CODES, "other"))
            slowest, largest = self._slowest[kind].seconds, self._largest[kind].peak_bytes >> 20
            lines.append(
                f"| {kind}: {KINDS[kind].what} | {sum(ends.values())} | {each} | {slowest:.1f} | {largest} "
                f"| {self._cpu_s[kind]:.0f} |"
            )
        return lines

    def _faults(self) -> list[str]:
        if not self.faults:
            return ["No fault."]
        lines = ["| fault | cases | for one |", "|---|---:|---|"]
        for fault, found in sorted(self.faults.items(), key=lambda item: -len(item[1])):
            lines.append(
                f"| {fault.replace('|', '/')} | {len(found)} | --kind {found[0].kind} --case {found[0].number} |"
            )
        return lines
