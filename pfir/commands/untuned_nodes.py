"""Nodes that no kernel of ours computes, but TVM's own unscheduled code, and their share of an inference's time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pfir.artifact import SLOW_KERNELS, SLOW_NAME, Artifact
from pfir.devices.base import Device

NAMED = 5
"""Nodes that a sentence names at most."""


def foreign_nodes(artifact: Artifact, device: Device) -> dict[str, object] | None:
    """`{"nodes": [..], "share": ..}`, None where there are none: the nodes, where the artifact names them, and their
    share of the time of all kernels as the device measured it, None where it cannot.

    Raises:
        DeviceError: The device does not answer.
    """
    slow = artifact.notes.get(SLOW_KERNELS, "")
    nodes = re.split(r"(?<=\)), ", slow) if slow else []
    share = share_of_foreign(device.kernel_seconds(artifact) or {})
    return {"nodes": nodes, "share": share} if nodes or share else None


def share_of_foreign(seconds: Mapping[str, float]) -> float | None:
    """Of the time of all kernels, by their names; None where there is no time."""
    total = sum(seconds.values())
    return sum(s for name, s in seconds.items() if name.startswith(SLOW_NAME)) / total if total > 0 else None


def sentence(found: Mapping[str, object]) -> str:
    """`2 nodes have no kernel of ours and take about 37 % of the time: Resize_3 (Resize), Mod_4 (Mod)`."""
    nodes, share = found["nodes"], found["share"]
    count = "nodes" if not nodes else "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"
    one = len(nodes) == 1
    taken = "" if share is None else f" and {'takes' if one else 'take'} about {100 * share:.2g} % of the time"
    more = f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else ""
    named = f": {', '.join(nodes[:NAMED])}{more}" if nodes else ""
    return f"{count} {'has' if one else 'have'} no kernel of ours{taken}{named}"
