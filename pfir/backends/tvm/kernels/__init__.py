"""Generators of scheduled kernels, one file a family."""
