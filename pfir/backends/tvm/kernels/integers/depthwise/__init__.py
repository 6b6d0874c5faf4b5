"""Depthwise convolutions over integers of eight bits."""
