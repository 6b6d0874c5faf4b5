"""Post-training quantization: which tensors get few bits, by what scales, and how they are written."""
