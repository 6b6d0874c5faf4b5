"""Kernels of each kind to count."""
