"""Does transfer work on a GPU, and how fast is it there? Needs torch, numpy, numba and safetensors alone."""
