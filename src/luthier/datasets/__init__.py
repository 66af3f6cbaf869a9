"""Datasets: from a name or a path to samples. See read.py for the one way in."""

from luthier.datasets.read import SampleSet, read_samples

__all__ = ["SampleSet", "read_samples"]
