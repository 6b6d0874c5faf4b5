"""The training copy of a model, in operators that have gradients."""
