"""Tests of the optimizer, on real small models and the real ONNX Runtime."""
