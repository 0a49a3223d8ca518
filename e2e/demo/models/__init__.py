"""The demo's models: each is trained on the spot, exported to ONNX, and comes with calibration and evaluation rows."""
