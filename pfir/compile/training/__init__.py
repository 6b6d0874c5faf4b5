"""What a run trains: the result against the original, and what passes need to learn."""
