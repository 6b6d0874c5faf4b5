"""Weights made zero: which of them, in what pattern, and how the others make up for it."""
