"""States on disk: written atomically, found again, read with suspicion."""
