"""BatchNormalization folded, put back, and estimated anew."""
