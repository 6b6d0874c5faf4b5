"""Grids of kernels whose instructions are counted, a module a kind."""
