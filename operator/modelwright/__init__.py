"""Modelwright: optimize a trained model, prove it, serve it on Triton."""

__version__ = "0.1.0"
