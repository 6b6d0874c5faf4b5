"""Methods of compression: what each lets a search choose, what it costs, and how it is built."""
