"""What `test.py` finds out beside the metrics: predictions, confusion, classes one by one, the worst samples.

Numbers go into the entry of the evaluation in `test.json`, next to its `metrics`:

    "intervals": {"accuracy": [0.972, 0.997], ...}      95 %, for those metrics that have one
    "sets": [{                                          one for each set of test data; without what was not asked for
        "name": null,                                   of the set, where there are several
        "num_samples": 359,
        "confusion": {"classes": ["0", ...], "counts": [[35, 0, ...], ...]},     a row for each true class
        "per_class": [{"class": "0", "precision": 1.0, "recall": 0.97, "f1": 0.98, "support": 36}, ...],
        "calibration": {"expected_error": 0.01, "bins": [{"low": 0.0, "high": 0.1, "count": 0, "confidence": null,
                        "accuracy": null}, ...]},
        "worst": {"picture": "test/model_best-1f2e3d4c/worst.png",
                  "samples": [{"index": 12, "name": "12", "text": null, "loss": 4.1, "target": 3, "target_class": "3",
                               "prediction": 5, "prediction_class": "5",
                               "picture": "test/model_best-1f2e3d4c/worst-12.png"}, ...]},
        "samples": "test/model_best-1f2e3d4c/samples.npz",     loss and metrics of each sample, see sample_values.py
        "predictions": "out.csv"}]

Files are named as seen from the folder of `test.json`; one that lies elsewhere by its name alone. `picture` is null
where the inputs are no images; those of single samples are at most 128 pixels wide. `text` is what an input was made
from, of texts and the rows of tables, up to 300 characters. `target_class` and `prediction_class` are there where the
dataset has names for its classes. A number that is not to be had, such as the recall of a class without samples, is
null.
"""
