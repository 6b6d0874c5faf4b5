"""What is known of a model before any input is given: constants, folded, shared, settled."""
