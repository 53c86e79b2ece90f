"""What can be found out before a long run: `--check`, `--overfit`, `--find-lr`, `--find-batch-size`."""
