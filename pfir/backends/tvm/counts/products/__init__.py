"""Instructions of matrix products."""
