"""Which source block and layer feeds which target block and layer, and how good a source that makes."""
