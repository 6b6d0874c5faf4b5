"""Blocks of a quantized network that learn to give what the float ones gave."""
