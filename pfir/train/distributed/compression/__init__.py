"""How gradients travel between workers: whole, in half precision, as low-rank factors, or in a few levels."""
