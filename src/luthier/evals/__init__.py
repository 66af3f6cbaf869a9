"""Scores of a model: of its texts against references (text.py)."""
