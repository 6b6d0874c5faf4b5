"""The same function and interface in fewer nodes."""
