"""Channels removed: which, how, and what makes up for them."""
