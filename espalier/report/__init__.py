"""What was learned in runs, read from their folders: tables, pages, figures."""
