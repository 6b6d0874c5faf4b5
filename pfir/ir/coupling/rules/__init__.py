"""What each operator does to channels: one small rule an operator, the table in `table.py`."""
