"""Projects of version 0.1, which have no record of what they were made from.

`files.zip` knows what each state of the template between its first new_project.py and the first record gave a project:
the git hash of each file, and the text of those that a project has still. `python -m scaffold.first.collect` made it
from the history of this repository; as that version is over, nobody needs to run it again.
"""
