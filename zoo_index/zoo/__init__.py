"""The zoo: one object for everything that people do with an index."""
