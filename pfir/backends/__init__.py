"""Compilers: a model becomes a library for a target."""
