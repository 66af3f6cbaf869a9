"""Datasets: from a name or a path to samples. See read.py for the one way in."""

from luthier.datasets.read import SampleSet, check_datasets, read_samples

__all__ = ["SampleSet", "check_datasets", "read_samples"]
