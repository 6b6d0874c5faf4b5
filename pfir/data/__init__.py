"""Samples: given by the user or generated."""
