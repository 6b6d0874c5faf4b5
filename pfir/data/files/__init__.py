"""Samples in files: archives, arrays, images."""
