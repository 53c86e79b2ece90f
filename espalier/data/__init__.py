"""The order of samples, their seeds, and what a batch is made of."""
