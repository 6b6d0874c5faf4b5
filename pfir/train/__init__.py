"""Fine-tuning with ONNX Runtime training."""
