"""Measured choices of kernels."""
