"""How weights are rounded to the integers of their grids."""
