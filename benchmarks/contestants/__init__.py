"""One file a contestant: `prepare(task)` sets up, and gives the function that trains and returns what came of it."""
