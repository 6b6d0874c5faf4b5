"""From ONNX nodes to kernels: what is fused, and what each kernel is."""
