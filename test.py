"""Evaluate a checkpoint on the test data: python test.py -r saved/models/<name>/<run>/model_best.pth"""

import argparse

from parse_config import ConfigParser
from utils.errors import errors_without_traceback
from utils.util import write_json


def test_section(config):
    """The name of the section that describes the test data: its own, or data_loader asked for the other split."""
    if "test_data_loader" in config:
        return "test_data_loader"
    arguments = config["data_loader"].setdefault("args", {})
    arguments.update(training=False, shuffle=False, validation_split=0.0)
    return "data_loader"


def main(config):
    # Slow to import, so not before the command line is known to be right.

    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.metric as module_metric
    import model.model as module_arch
    from engine.criterion import combine
    from engine.restore import load_weights
    from engine.rng import DEFAULT_SEED, seed_everything
    from trainer import Trainer
    from utils import prepare_device
    from utils.checkpoint_file import load_checkpoint

    section = test_section(config)
    config.check(sections=(section, "arch", "loss", "metrics"))
    seed_everything(config.get("seed", DEFAULT_SEED))  # as in training, so that a split is the same one
    checkpoint = load_checkpoint(config.resume)
    data_loader = config.init_obj(section, module_data)
    device, _ = prepare_device(min(1, config.get("n_gpu", 0)))
    model = config.init_obj("arch", module_arch).to(device)
    load_weights(model, checkpoint["state_dict"])
    criterion = combine(config.init_ftn("loss", module_loss), config["loss"])
    metrics = config.init_ftn("metrics", module_metric)

    # The code that validates during training gives the numbers here too.
    trainer = Trainer(model, criterion, metrics, None, config, device, None, valid_data_loader=data_loader)
    result = trainer._valid_epoch(checkpoint["epoch"])

    print(f"{config.resume}, epoch {checkpoint['epoch']}, {data_loader.n_samples} samples")
    for name, value in result.items():
        print(f"  {name:<16} {value:.6g}")
    report = config.resume.with_name("test.json")
    write_json({"checkpoint": config.resume.name, "epoch": checkpoint["epoch"], "num_samples": data_loader.n_samples,
                "data": config[section], "metrics": result}, report)  # fmt: skip
    print(f"Written to {report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint on the test data.")
    parser.add_argument("-r", "--resume", help="a checkpoint, or a run folder for its best one")
    parser.add_argument("-c", "--config", help="a config whose data is used instead")
    parser.add_argument("-d", "--device", help="index of the GPU to use")
    with errors_without_traceback():
        main(ConfigParser.from_args(parser, evaluating=True))
