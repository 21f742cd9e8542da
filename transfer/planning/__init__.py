"""From an alignment to a plan: what happens to every tensor of the target, before any weight is read."""
