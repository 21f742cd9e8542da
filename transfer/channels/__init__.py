"""Which channels of a source layer go to which channels of a target layer."""
