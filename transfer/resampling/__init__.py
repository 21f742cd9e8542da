"""Tensors on another grid: positions, tables of relative positions, patches, kernels, channels of the image."""
