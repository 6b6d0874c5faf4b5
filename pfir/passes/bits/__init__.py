"""Bits layer by layer: what each number of them costs the outputs, and the best choice within a budget."""
