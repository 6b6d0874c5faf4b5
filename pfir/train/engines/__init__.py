"""What differentiates a training graph: ONNX Runtime, or PyTorch."""
