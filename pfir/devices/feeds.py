"""What goes into a library and comes out of it, checked against its interface."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.artifact import Artifact
from pfir.errors import RunError


def ordered(artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of `inputs` in the artifact's order, checked against its interface.

    Raises:
        RunError: One is missing, or has another shape or dtype than the library expects.
    """
    arrays = []
    for spec in artifact.inputs:
        if spec.name not in inputs:
            raise RunError(f"input {spec.name} is missing; the library needs {[s.name for s in artifact.inputs]}")
        array = np.asarray(inputs[spec.name])
        if tuple(array.shape) != tuple(spec.shape) or array.dtype.name != spec.dtype:
            raise RunError(
                f"input {spec.name} is {array.dtype.name}{list(array.shape)}; "
                f"the library expects {spec.dtype}{list(spec.shape)}"
            )
        arrays.append(np.asarray(array, order="C"))  # ascontiguousarray would give a scalar an axis
    return arrays


def named(artifact: Artifact, outputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The library's outputs by name.

    Raises:
        RunError: The library has another count of outputs than its interface.
    """
    names = [spec.name for spec in artifact.outputs]
    if len(names) != len(outputs):
        raise RunError(f"the library gave {len(outputs)} outputs; its interface names {len(names)}")
    return dict(zip(names, outputs, strict=True))


def sample(artifact: Artifact) -> list[np.ndarray]:
    """Inputs to measure with: normal float values (denormals would slow the run), zeros for anything else."""
    generator = np.random.default_rng(0)
    arrays = []
    for spec in artifact.inputs:
        shape = tuple(size for size in spec.shape if isinstance(size, int))
        floats = spec.dtype.startswith("float")
        arrays.append(np.asarray(generator.standard_normal(shape) if floats else np.zeros(shape), spec.dtype))
    return arrays
