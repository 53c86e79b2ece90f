"""Where words and numbers go: log lines, metrics.jsonl, TensorBoard, pictures, run.json."""
