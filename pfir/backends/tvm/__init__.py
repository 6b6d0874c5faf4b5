"""The TVM backend: ONNX to Relax to a library."""
