"""Training in several processes: who they are, how they are started, what they tell each other."""
