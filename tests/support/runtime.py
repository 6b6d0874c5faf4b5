"""Which ONNX Runtime the tests run on."""

from __future__ import annotations

import pytest

from pfir.train.engines.choice import ort_trains

fault_of_1_19 = pytest.mark.skipif(not ort_trains(), reason="a fault of ONNX Runtime 1.19.2 that is gone in newer ones")
"""A test of how a fault of the release that trains is met."""
