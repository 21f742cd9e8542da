"""What a narrower target reads of a source: the channels that matter, and statistics without those left out."""
