"""Weights in a few bits as files hold them: exporters/ writes them, models/ reads them."""

METHOD = "luthier-packed"
"""What such a model gives transformers and peft as its quantization_method: its layers are ordinary ones to them."""
