"""Weights in files and in memory: reading them, carrying out a plan, writing the result."""
