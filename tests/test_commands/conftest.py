"""The fixtures of whole runs."""

from tests.support.job_fixtures import data, finished, model, place, report, runs_are_short

__all__ = ["data", "finished", "runs_are_short", "model", "place", "report"]
