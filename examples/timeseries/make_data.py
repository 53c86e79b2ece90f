"""Two years of hourly demand: python -m examples.timeseries.make_data"""

import argparse
from pathlib import Path

import numpy as np

PATH = "data/demand.csv"


def main(path: str = PATH, days: int = 730) -> None:
    draw, hour = np.random.default_rng(0), np.arange(24 * days)
    weather, other = np.zeros(len(hour)), np.zeros(len(hour))  # what passes slowly
    for each in hour[1:]:
        weather[each] = 0.99 * weather[each - 1] + 0.5 * draw.normal()
        other[each] = 0.95 * other[each - 1] + 1.2 * draw.normal()
    is_weekend = hour // 24 % 7 >= 5
    of_day = np.sin(2 * np.pi * (hour / 24 - 0.3)) + 0.4 * np.sin(4 * np.pi * hour / 24)
    of_year = -10 * np.cos(2 * np.pi * hour / 24 / 365)
    temperature = 12 + of_year + 4 * np.sin(2 * np.pi * (hour / 24 - 0.4)) + weather
    demand = 100 + np.where(is_weekend, 12, 25) * of_day - 8 * is_weekend + 0.12 * (temperature - 16) ** 2 + other
    demand += 2 * draw.normal(size=len(hour))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.column_stack([hour, demand, temperature]), ["%d", "%.2f", "%.2f"], ",", comments="",
               header="hour,demand,temperature")  # fmt: skip


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
    print(f"The hours are in {PATH}")
