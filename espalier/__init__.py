"""Espalier's framework: everything that the rooms around it stand on. A project carries it along and never edits it."""
