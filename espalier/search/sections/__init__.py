"""The sections of the page of a study; page.py has them in their order."""
