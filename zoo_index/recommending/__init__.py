"""From a target to ranked sources, with what to expect of each."""
