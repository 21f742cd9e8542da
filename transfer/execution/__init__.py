"""Carrying out a plan: look at every value, then write it, wherever the target lives."""
