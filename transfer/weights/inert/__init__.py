"""Pickles read without running anything in them: tensors, arrays and plain containers, a stand-in for all else."""
