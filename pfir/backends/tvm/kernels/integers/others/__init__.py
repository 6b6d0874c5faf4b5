"""Kernels over integers of eight bits that have no weights: chains of element-wise nodes, tables, means."""
