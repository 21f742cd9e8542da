"""What keeps an index up to date: the nightly refresh, its lease, its workers."""
