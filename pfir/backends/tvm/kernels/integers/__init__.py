"""Kernels that compute with integers of eight bits, and how those are read and written."""
