"""Whether a model is whole, and small enough to be looked at."""
