"""A student and its teacher as one graph with a loss."""
