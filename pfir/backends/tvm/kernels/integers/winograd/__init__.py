"""Convolutions over integers of eight bits by Winograd's transforms in 16 bits."""
