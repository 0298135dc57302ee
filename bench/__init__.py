"""Measurements of this program, each of things side by side in one run: `make bench`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""Of the repository, whose docs/ the reports go to."""
