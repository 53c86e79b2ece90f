"""Payments of which one in fifty is a fraud: python -m examples.imbalanced.make_data"""

import argparse
from pathlib import Path

import numpy as np


def main(path: str = "data/payments.csv", size: int = 30_000) -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(size, 6))  # amount, hour, distance, age, ..., each in its standard deviation
    risk = 1.6 * np.abs(inputs[:, 0]) + 1.4 * inputs[:, 1] * inputs[:, 2] + 0.8 * inputs[:, 3]
    risk += 0.9 * draw.normal(size=size)  # what no column tells
    is_fraud = risk > np.quantile(risk, 0.98)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([inputs, is_fraud]), "%.4f," * 6 + "%d", comments="",
               header="amount,hour,distance,age,visits,items,is_fraud")  # fmt: skip
    print(f"The payments are in {path}")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
