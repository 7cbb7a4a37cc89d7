"""moml: multi-objective learning on PyTorch."""

__version__ = "0.1.0"
