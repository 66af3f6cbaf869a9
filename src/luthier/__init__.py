"""Luthier: fine-tune language models without writing code."""

__version__ = "0.1.0"
