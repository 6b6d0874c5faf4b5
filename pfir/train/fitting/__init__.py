"""The parts of a training: what has happened, what it can go back to, divergence, checkpoints, progress."""
