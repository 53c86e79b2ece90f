"""Make 50 MB of shards out of data/digits: python -m examples.shards.make_data"""

import argparse
from pathlib import Path

import numpy as np


def main(folder, num_shards=20, size=800):
    """Write shards of so many noisy digits, 56x56 pixels each."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with np.load("data/digits/digits.npz") as file:
        digits, labels = file["images"].astype(np.float32) / 16, file["labels"]
    generator = np.random.default_rng(0)
    for number in range(num_shards):
        chosen = generator.integers(len(digits), size=size)
        large = np.kron(digits[chosen], np.ones((1, 7, 7), dtype=np.float32))  # (N, 8, 8) to (N, 56, 56)
        noisy = np.clip(large + generator.normal(scale=0.2, size=large.shape), 0, 1)
        np.savez(folder / f"shard-{number:03d}.npz", images=(255 * noisy).astype(np.uint8), labels=labels[chosen])
    total = sum(file.stat().st_size for file in folder.glob("shard-*.npz"))
    print(f"{num_shards} shards of {size} samples, {total / 1e6:.0f} MB, in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="data/shards")
    main(parser.parse_args().folder)
