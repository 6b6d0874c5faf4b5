"""Direct convolutions, written out."""
