"""What a seed is where nobody has set one; known without torch."""

DEFAULT_SEED = 123
