"""How many processes: checked before any work."""

import pytest

from pfir.errors import UsageError
from pfir.train.distributed import processes as module
from pfir.train.distributed.processes import ONE, Processes


def test_one_process_needs_nothing():
    assert not ONE.several


@pytest.mark.parametrize(
    "wrong,said",
    [
        ({"count": 0}, "--nproc is 0; it must be at least 1"),
        ({"compress": "zip"}, "--compress-gradients zip is not known"),
        ({"compress": "ecq"}, "--compress-gradients ecq goes with --nproc 2 or more"),
    ],
)
def test_what_cannot_be_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        Processes(**wrong)


@pytest.mark.parametrize(
    "asked,said", [({"count": 2}, "--nproc 2 needs"), ({"torchrun": "--nnodes 2"}, "--torchrun needs")]
)
def test_several_need_the_extra(monkeypatch, asked, said):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"{said} PyTorch, which is not installed; pip install 'pfir"):
        Processes(**asked)
