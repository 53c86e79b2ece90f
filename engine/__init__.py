"""The parts a trainer is made of."""
