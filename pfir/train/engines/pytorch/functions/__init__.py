"""ONNX's operators as PyTorch functions: each takes the node, then its inputs, None for one left out."""
