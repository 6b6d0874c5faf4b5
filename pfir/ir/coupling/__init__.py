"""Channel coupling: which channels live or die together, and how they are removed."""
