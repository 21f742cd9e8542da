"""From a network or a checkpoint header to an architecture: an ordered list of blocks and layers."""
