"""The sections of the page of runs. Each is a function of the comparison; page.py has them in their order."""
