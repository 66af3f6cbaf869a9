"""File formats of export: name -> class, imported at first use."""

from luthier.registry import Registry

EXPORTERS = Registry("export_format", {"safetensors": "luthier.exporters.safetensors:Safetensors"})
