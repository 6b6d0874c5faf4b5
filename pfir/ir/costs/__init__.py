"""What a model costs, in numbers or as formulas over its sizes."""
