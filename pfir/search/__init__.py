"""The search for the parameters that keep most quality under a budget."""

from pfir.search.budget import project, reachable
from pfir.search.problem import Problem, SearchResult, Settings, Trial
from pfir.search.searching import search

__all__ = ["Problem", "SearchResult", "Settings", "Trial", "project", "reachable", "search"]
