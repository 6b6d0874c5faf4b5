"""The fixtures of whole runs."""

from tests.support.job_fixtures import data, finished, measured_shortly, model, place, report

__all__ = ["data", "finished", "measured_shortly", "model", "place", "report"]
