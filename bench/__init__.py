"""Measurements of this program, each of things side by side in one run: `make bench`."""
