"""Rewrites of a model."""
