"""ONNX Runtime is asked for CUDA only where that cannot end the process."""

import ctypes
import os
import subprocess
import sys
import types

import pytest

onnxruntime = pytest.importorskip("onnxruntime")

from pfir.train.engines.onnxruntime.providers import CPU, gpus, providers  # noqa: E402


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


def driver(count, starts=0):
    """A driver of CUDA's that shows so many GPUs, or gives an error when it is started."""

    def tell(where):
        where._obj.value = count
        return 0

    return types.SimpleNamespace(cuInit=lambda flags: starts, cuDeviceGetCount=tell)


@pytest.mark.parametrize(("count", "rank", "device"), [(4, 3, "3"), (1, 0, "0"), (2, 3, "1")])
def test_with_a_driver_a_process_has_the_gpu_of_its_own_number(monkeypatch, with_cuda, count, rank, device):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver(count))
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    assert providers() == [("CUDAExecutionProvider", {"device_id": device}), CPU]


@pytest.mark.parametrize("found", [driver(0), driver(2, starts=100)], ids=["hides all GPUs", "does not start"])
def test_a_driver_that_shows_no_gpu_is_as_none(monkeypatch, with_cuda, found):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: found)
    assert gpus() == 0 and providers() == [CPU]


def test_this_machine_tells_its_gpus_without_harm():
    code = "from pfir.train.engines.onnxruntime.providers import gpus; print(gpus())"
    hidden = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True
    )
    assert (hidden.returncode, hidden.stdout.strip()) == (0, "0")
