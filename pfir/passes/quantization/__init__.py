"""Eight bits and fewer: ranges, integers, and what keeps a network accurate with them."""
