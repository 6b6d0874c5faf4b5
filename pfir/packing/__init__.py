"""The container of packed models: any ONNX file, smaller, and back again to the byte."""
