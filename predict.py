"""What a trained model says of files: python predict.py -r saved/models/<name>/<run> images/ --output said.csv"""

import argparse
from pathlib import Path

from espalier.inference.bundle_files import is_bundle
from parse_config import ConfigParser


def load_model(path, device=None, *, is_raw=False):
    """A trained model to `predict` with: of a run folder (its best checkpoint), a checkpoint, or a bundle.

    Returns:
        An `espalier.inference.model.Model`.
    """
    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.model as module_arch
    import trainer as module_trainer
    from espalier.inference.bundle import load_bundle
    from espalier.inference.load import load_run

    rooms = {"arch": module_arch, "loss": module_loss, "data_loader": module_data, "trainer": module_trainer}
    if is_bundle(Path(path)):
        return load_bundle(path, device, rooms=rooms)
    config = ConfigParser.from_args(argparse.Namespace(resume=str(path)), evaluating=True, strict=True)
    config.check(sections=("arch", "loss"))
    return load_run(config, rooms, device, is_raw=is_raw)
