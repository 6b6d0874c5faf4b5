"""Settings of every test run: the same examples each time, no time limits, nothing stored."""

from hypothesis import settings

settings.register_profile("pfir", derandomize=True, deadline=None, database=None)
settings.load_profile("pfir")
