"""The writers of a run: where its values, pictures, texts and files go beside log lines and metrics.jsonl."""
