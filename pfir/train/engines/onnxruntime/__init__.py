"""Training graphs differentiated by ONNX Runtime training."""
