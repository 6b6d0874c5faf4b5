"""pfir: a compiler that makes trained networks small and fast for ARM devices."""

__version__ = "0.1.0"
