"""What a trainer is made of."""
