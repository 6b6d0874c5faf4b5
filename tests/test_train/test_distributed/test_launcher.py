"""Which of several workers that ended is to blame."""

import signal

import pytest

from pfir.train.distributed.launcher import to_blame
from pfir.train.distributed.worker import LOST


@pytest.mark.parametrize(
    "codes,rank",
    [
        ({0: LOST, 1: -signal.SIGKILL}, 1),
        ({0: LOST, 1: -signal.SIGTERM, 2: 1}, 2),
        ({0: LOST, 1: -signal.SIGTERM}, 1),
        ({0: 3, 1: 3}, 0),
        ({1: LOST}, 1),
        ({0: -signal.SIGABRT, 1: -signal.SIGKILL}, 1),
        ({0: -signal.SIGTERM, 1: -signal.SIGABRT}, 1),
    ],
)
def test_those_that_ended_for_the_sake_of_others_come_last(codes, rank):
    assert to_blame(codes) == rank
