"""The intermediate representation and what can be known about it without running it."""
