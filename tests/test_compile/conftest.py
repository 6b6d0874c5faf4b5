"""The fixtures of whole runs."""

from tests.support.job_fixtures import copied, data, finished, model, place, plain, report, runs_are_short

__all__ = ["copied", "data", "finished", "runs_are_short", "model", "place", "plain", "report"]
