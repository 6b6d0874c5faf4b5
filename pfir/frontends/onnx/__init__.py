"""ONNX files, which may come from anywhere."""
