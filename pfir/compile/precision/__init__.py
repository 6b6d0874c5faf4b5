"""Which layers of a model compute in what, and the model quantized so."""
