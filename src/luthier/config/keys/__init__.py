"""The key groups, one file each. Config (config/schema.py) inherits them all; a leaf may ask for one group only."""
