"""Models whose tensors are integers that stand for other numbers."""
