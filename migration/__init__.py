"""Bring a project of the classic template (victoresque/pytorch-template) here: new_project.py --migrate ../old

The framework rooms become ours; the project's own rooms stay as they are. What the project uses and ours lacks is
found in the syntax trees: helpers that were added to a framework file move beside ours, and a framework file whose
classes were changed in a way the project relies on is kept. MIGRATION.md names what to edit by hand.
"""

from migration.command import main

__all__ = ["main"]
