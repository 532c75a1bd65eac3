"""Values that travel between the rooms: exact, read-only, with digests."""
