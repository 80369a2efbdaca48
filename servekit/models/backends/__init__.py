"""Engines behind the array port: ONNX Runtime, a remote Triton, a fake."""
