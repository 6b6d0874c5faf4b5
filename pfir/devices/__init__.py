"""Where a library runs, or is costed."""
