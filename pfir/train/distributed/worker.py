"""One process of a training: `torchrun .. -m pfir.train.distributed.worker JOB`, JOB being the folder of a job."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from pfir.errors import PfirError, WorkerError
from pfir.train.checkpoint import State
from pfir.train.distributed.collective import Collective
from pfir.train.distributed.compression.choice import NONE, hook_named
from pfir.train.distributed.group import Group
from pfir.train.distributed.job import Job, Places
from pfir.train.distributed.messages import packed_state
from pfir.train.distributed.share import divisible
from pfir.train.distributed.telling import Teller, write
from pfir.train.fitting.judges import Judges
from pfir.train.settings import Settings
from pfir.train.trainer import Result, fit

LOST = 75
"""Exit code of a worker that ends because another one did: EX_TEMPFAIL of sysexits.h."""
LEAST_S = 1.0
"""Of training, however long it took to start."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Take part in the training that the command line names."""
    places, rank = Places(Path(sys.argv[1])), int(os.environ["RANK"])
    end_with_parent(signal.SIGKILL)
    try:
        take_part(places)
    except WorkerError as error:
        print(f"worker {rank}: {error}", file=sys.stderr)
        leave(LOST)
    except PfirError as error:
        print(f"worker {rank}: {error}", file=sys.stderr)
        tell_error(places, rank, type(error).__name__, str(error))
        leave(error.exit_code)
    except Exception as error:
        said = f"training process {rank} failed: {type(error).__name__}: {error}"
        tell_error(places, rank, WorkerError.__name__, said)
        raise


def tell_error(places: Places, rank: int, kind: str, text: str) -> None:
    """Leave the error for the process that waits: a type of `pfir.errors`, and its text."""
    write(places.error(rank), json.dumps({"type": kind, "text": text}).encode())


def take_part(places: Places) -> None:
    """Train; the first worker leaves the result."""
    collective = Collective()
    job = Job.read(places.folder)
    group, teller = Group(collective, hook_named(job.compress, job.settings.seed)), Teller(places)
    spent_s = group.number(lambda: time.time() - job.began)
    settings = shared(job.settings, group.count, spent_s)
    told = None if group.rank else teller.progress
    evaluate, watch = teller.score if job.evaluates else None, teller.watch if job.watches and not group.rank else None
    result = fit(job.graph, job.data, settings, told, Judges(evaluate, watch), group)
    result = replace(result, notes=(*result.notes, *notes_on(job, settings.batch)))
    if not group.rank:
        write(places.result, packed_state(state_with(result)))
    collective.close()


def notes_on(job: Job, batch: int) -> list[str]:
    """In what a job trained otherwise than one process does, whose batches have this size."""
    grown = f"a batch has {batch} samples in place of {job.settings.batch}, equally many for each process"
    rounded = f"gradients travelled in fewer bytes ({job.compress}): the weights are others than without"
    return [*([grown] if batch != job.settings.batch else []), *([rounded] if job.compress != NONE else [])]


def shared(settings: Settings, count: int, spent_s: float) -> Settings:
    """The settings with a batch that so many workers can share, and what is left of the time budget."""
    budget = settings.time_budget_s
    left = None if budget is None else max(budget - spent_s, LEAST_S)
    return replace(settings, batch=divisible(settings.batch, count), time_budget_s=left)


def state_with(result: Result) -> State:
    """The result as a state that can be written."""
    facts = {name: value for name, value in asdict(replace(result, arrays={})).items() if name != "arrays"}
    return State(result.arrays, facts)


def end_with_parent(how: int) -> None:
    """Ask the system to send this process a signal once the one that started it has ended; Linux alone can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, how)


def leave(code: int) -> None:
    """End at once: threads may hang in an operation whose other side is gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
