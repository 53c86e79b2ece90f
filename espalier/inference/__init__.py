"""A trained model as others use it: its network, what is done to its inputs, and what its outputs mean."""
