"""Sums of products of bytes in pairs, on cores without dot products."""
