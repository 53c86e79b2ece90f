"""Several processes of one run: how they start, what they tell each other, DDP and FSDP."""
