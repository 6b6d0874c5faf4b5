"""ONNX Runtime is asked for CUDA only where that cannot end the process."""

import ctypes
import types

import pytest

onnxruntime = pytest.importorskip("onnxruntime")

from pfir.train.engines.onnxruntime.providers import CPU, providers  # noqa: E402


@pytest.fixture
def with_cuda(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])


def test_without_a_driver_all_is_computed_on_the_cpu(monkeypatch, with_cuda):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert providers() == [CPU]


def test_a_build_without_cuda_is_not_asked_for_it(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    assert providers() == [CPU]


def test_with_a_driver_a_process_has_the_gpu_of_its_own_number(monkeypatch, with_cuda):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: types.SimpleNamespace())
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert providers() == [("CUDAExecutionProvider", {"device_id": "3"}), CPU]
