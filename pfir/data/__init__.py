"""Samples: given by the user or generated."""

from pfir.data.base import Dataset
from pfir.data.dividing import split
from pfir.data.generated import Range, generated
from pfir.data.opening import open_data
from pfir.data.preprocess import Preprocess, parse_preprocess

__all__ = ["Dataset", "Preprocess", "Range", "generated", "open_data", "parse_preprocess", "split"]
