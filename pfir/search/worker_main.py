"""The child process of `Processes`: scores candidates until its parent closes the pipe."""

from __future__ import annotations

import pickle
import signal
import sys
from multiprocessing.connection import Connection

from pfir.errors import PfirError
from pfir.search.executors import Outcome, outcome_of
from pfir.system.blas import one_blas_thread


@one_blas_thread()
def serve(connection: Connection) -> None:
    """Take the pickled score first, then candidates, and answer each with its outcome or the fault in the score."""
    # Ctrl-C reaches every process of the terminal; the one that keeps the journal decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        scoring = pickle.loads(connection.recv_bytes())  # bytes of our own parent, not of a file
        while True:
            parameters = connection.recv()
            try:
                result: Outcome | Exception = outcome_of(scoring, parameters)
            except Exception as error:  # any: it is raised again in the parent
                result = _portable(error)
            connection.send(result)
    except (EOFError, OSError):
        return


def _portable(error: Exception) -> Exception:
    """The error itself where it survives pickling, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # a foreign exception class may fail in any way here
        return PfirError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
