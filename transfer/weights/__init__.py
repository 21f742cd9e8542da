"""Weights in files and in memory: their headers, their tensors in whole or in part, and writing files."""
