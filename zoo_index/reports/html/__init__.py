"""Pages to look at in a browser: one file each, without a network."""
