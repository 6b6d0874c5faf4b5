"""Schedules of kernels over integers of eight bits."""
