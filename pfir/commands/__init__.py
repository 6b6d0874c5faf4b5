"""The commands beside compile: opt, inspect, evaluate, bench and tune."""
