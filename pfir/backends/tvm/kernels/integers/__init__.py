"""Kernels that sum products of integers of eight bits."""
