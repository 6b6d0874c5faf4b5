"""Weights as places in codebooks: how codebooks are found, improved and written."""
