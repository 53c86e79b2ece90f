"""What exists only for projects of the classic template."""
