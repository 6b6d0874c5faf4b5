"""How weights move: the optimizers and the schedule of their learning rate."""
