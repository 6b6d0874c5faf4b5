"""Between ONNX files and graphs, with nothing lost on the way."""
