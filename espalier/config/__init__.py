"""What a config says: read, checked, and built."""
