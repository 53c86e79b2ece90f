"""Runs on disk: the folder of a run, its config and lock, and which of them a command goes on with."""
