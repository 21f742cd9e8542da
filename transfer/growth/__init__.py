"""Targets that are larger than their source: where the source lies in them, and how the rest keeps its function."""
