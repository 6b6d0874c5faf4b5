"""torchrun, with a file that says which worker ended before its time."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from pfir.train.distributed.job import Places
from pfir.train.distributed.telling import write
from pfir.train.distributed.worker import LOST, end_with_parent


def main() -> None:
    """Run torchrun: argv[1] is the job's folder, argv[2] the process that waits for it, the rest torchrun's own."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    end_with_parent(signal.SIGTERM)
    if os.getppid() != int(sys.argv[2]):
        sys.exit(1)
    try:
        run(parse_args(sys.argv[3:]))
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        rank = to_blame(codes)
        told = {"rank": rank, "code": codes[rank]}
        write(Places(Path(sys.argv[1])).failure, json.dumps(told).encode())
        sys.exit(1)


def to_blame(codes: Mapping[int, int]) -> int:
    """The worker whose end ended the others, by their exit codes; those that ended for the sake of others come last."""
    after = {LOST: 3, -signal.SIGTERM: 2, -signal.SIGABRT: 1}  # NCCL aborts where another process is gone
    return min(codes, key=lambda rank: (after.get(codes[rank], 0), rank))


if __name__ == "__main__":
    main()
