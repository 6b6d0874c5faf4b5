"""Which device a process has, and what becomes of PyTorch's words for a lost process."""

import pytest

torch = pytest.importorskip("torch", reason="processes are joined by torch.distributed")

from pfir.errors import UsageError, WorkerError  # noqa: E402
from pfir.train.distributed.collective import Collective, device_of, losing_none  # noqa: E402


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")


@pytest.mark.parametrize("count,device", [(0, "cpu"), (2, "cuda:1")])
def test_a_process_has_the_gpu_of_its_number_where_there_are_some(monkeypatch, count, device):
    gpus(monkeypatch, count)
    assert device_of() == device


def test_processes_without_a_gpu_each_are_refused(monkeypatch):
    gpus(monkeypatch, 1)
    with pytest.raises(UsageError, match="2 processes and 1 GPUs on this machine; .* a smaller --nproc"):
        Collective()


def test_what_pytorch_says_of_a_lost_process_becomes_ours():
    with pytest.raises(WorkerError, match="lost the other workers: Connection closed by peer"), losing_none():
        raise RuntimeError("Connection closed by peer\nand more")
