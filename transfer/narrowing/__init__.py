"""Targets that are narrower than their source: which channels to keep, and what to do about the others."""
