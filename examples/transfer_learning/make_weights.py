"""Let a ResNet-18 learn printed letters, and keep its weights: python -m examples.transfer_learning.make_weights"""

import argparse
import shutil

CONFIG = "examples/transfer_learning/source.json"
FILE = "data/transfer/letters.pth"


def main(path: str = FILE, overrides: dict | None = None) -> None:
    import train  # what --help does not need
    from parse_config import ConfigParser

    result = train.build(ConfigParser.from_file(CONFIG, overrides)).train()
    shutil.copy(result.folder / "model_best.pth", path)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
    print(f"The weights are in {FILE}")
