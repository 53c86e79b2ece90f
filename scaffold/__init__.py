"""Making a project from this template, and bringing it up to date; stays in this repository, standard library only."""
