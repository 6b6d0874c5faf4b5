"""The data of a run: opened or generated, divided, and checked against the model."""
