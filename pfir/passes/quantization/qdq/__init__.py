"""Quantized models as standard ONNX writes them: their layers, their activations, and how they are trained."""
