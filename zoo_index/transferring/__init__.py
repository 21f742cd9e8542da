"""From a recommended source to a filled target: weights found, sources combined, files written."""
