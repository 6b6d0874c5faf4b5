"""Latency told from a model of the core."""
