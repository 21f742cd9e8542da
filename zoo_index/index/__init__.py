"""The index itself: how it is refreshed, embedded, searched and shipped."""
