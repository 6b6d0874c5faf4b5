"""The search for the parameters that keep most quality under a budget."""
