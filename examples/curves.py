"""Curves of runs as one small picture: python examples/curves.py out.png val_accuracy RUN [RUN ...]

Needs `pip install -e ".[plots]"`. A run is a folder with metrics.jsonl; RUN:NAME gives it a name in the picture.
"""

import argparse
import json
from pathlib import Path


def main(out: str, value: str, *runs: str) -> None:
    from matplotlib.figure import Figure  # of an extra, which --help does not need

    figure = Figure(figsize=(4.2, 2.7), dpi=90, layout="constrained")
    axes = figure.subplots()
    for run in runs:
        folder, _, name = run.partition(":")
        rows = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
        rows = [row for row in rows if value in row]
        name = name or Path(folder).parent.name
        axes.plot([row["epoch"] for row in rows], [row[value] for row in rows], marker=".", label=name)
    axes.set(xlabel="epoch", ylabel=value)
    axes.grid(alpha=0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)  # never over a curve
    figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("value")
    parser.add_argument("runs", nargs="+", metavar="RUN[:NAME]")
    arguments = parser.parse_args()
    main(arguments.out, arguments.value, *arguments.runs)
