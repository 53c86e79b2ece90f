"""Train each fold, test it, and compare with a linear model: python -m examples.tabular.folds"""

import argparse
from pathlib import Path

import torch

import train
from parse_config import ConfigParser

CONFIG = Path(__file__).with_name("config.json")


def linear_r2(loader, part):
    """R2 of least squares on the same inputs, fitted on the training part."""
    (inputs, targets), (others, truth) = (samples_of(each) for each in (loader, part))
    ones = torch.ones(len(inputs), 1)
    weights = torch.linalg.lstsq(torch.cat([inputs, ones], 1), targets, driver="gelsd").solution
    errors = torch.cat([others, torch.ones(len(others), 1)], 1) @ weights - truth
    return 1 - float((errors**2).sum() / ((truth - truth.mean()) ** 2).sum())


def samples_of(loader):
    """All inputs and targets of a loader."""
    batches = list(loader)
    return tuple(torch.cat([batch[part] for batch in batches]) for part in (0, 1))


def main(num_folds=5, epochs=60, seed=1):
    rows = []
    for fold in range(1, num_folds + 1):
        overrides = {"data_loader.args.split.fold": fold, "data_loader.args.split.num_folds": num_folds,
                     "trainer.epochs": epochs, "trainer.verbosity": 0,
                     "name": f"Cars_fold{fold}", "seed": seed}  # fmt: skip
        trainer = train.build(ConfigParser.from_file(CONFIG, overrides))
        result = trainer.train()
        rows.append((result.last["val_r2"], linear_r2(trainer.data_loader, trainer.valid_data_loader)))
        print(f"fold {fold}: R2 {rows[-1][0]:.3f}, of a linear model {rows[-1][1]:.3f}")
    means = torch.tensor(rows).mean(0).tolist()
    print(f"mean of {num_folds} folds: R2 {means[0]:.3f}, of a linear model {means[1]:.3f}")
    return means


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    main(**vars(parser.parse_args()))
