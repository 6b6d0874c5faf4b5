"""Kernels that sum products of integers of eight bits, and how those are read and written."""
