"""Where pretrained networks come from: one module per catalogue, and what they all offer."""
