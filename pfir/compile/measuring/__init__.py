"""What a model is worth: latency, cost, quality, and whether its library is right."""
