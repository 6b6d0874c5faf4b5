"""Fine-tuning, with ONNX Runtime training or PyTorch."""
