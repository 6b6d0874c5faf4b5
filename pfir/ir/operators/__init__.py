"""What pfir knows of operators: where their weights and biases are, how channels lie, gates, scales and zero points."""
