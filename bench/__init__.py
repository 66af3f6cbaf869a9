"""Benchmarks of Luthier against its peer, against a plain loop, and against the limit of the machine.

Every script measures both sides in one run, in turns (A B A B ...), prints ratios, checks that both did the same work, and
writes a table with the machine, the versions and the load to bench/results/. See bench/README.md.
"""
