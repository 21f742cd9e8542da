"""Formats of weights files. Each knows its files and reads what they hold, tensors when they are asked for."""
