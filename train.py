"""Train what a config describes: python train.py -c config.json"""

import argparse  # PYTHON_ARGCOMPLETE_OK
import collections
import sys

from espalier.interactive import is_interactive
from espalier.processes.command import errors_without_traceback
from parse_config import ConfigParser


def main(config):
    checked(config)
    from espalier.processes.collectives import is_launched, process_group
    from espalier.processes.launch import launch

    if config.num_processes > 1 and not is_launched() and not is_interactive():
        # this very command again, once for each device
        sys.exit(launch(config.num_processes, config["trainer"].get("max_restarts") or 0))
    with process_group(config.get("n_gpu", 0)):
        trainer = build(config)
        if config.is_trial:
            import data_loader.data_loaders as module_data
            from espalier.trials.check import run_trial

            run_trial(trainer, module_data)
        else:
            trainer.train()


def checked(config):
    """The trainer class of a config, all of which has been checked."""
    config.check_keys()  # before the imports, which are slow
    import trainer as module_trainer

    Trainer = config.trainer_class(module_trainer)
    config.check(extra_log_names=Trainer.extra_log_names)
    return Trainer


def build(config):
    """Build the run that a config describes, seeded and checked: a trainer, to call `train()` of. Also from Python."""
    Trainer = checked(config)
    config.check_processes()
    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.metric as module_metric
    import model.model as module_arch
    from espalier.processes.collectives import broadcast_run_folder, main_process_first
    from espalier.processes.ddp import device_of_process, distribute_model
    from espalier.rng import DEFAULT_SEED, seed_everything
    from espalier.training.build_data import build_data
    from espalier.training.criterion import combine
    from espalier.training.lazy import fill_lazy
    from espalier.training.param_groups import build_optimizers
    from espalier.training.weights import begin_weights

    broadcast_run_folder(config)
    seed = config.get("seed", DEFAULT_SEED)
    seed_everything(seed)

    with main_process_first():  # of several processes, so that one downloads and the others find it
        data_loader, valid_data_loader = build_data(config, module_data)
        model = config.init_obj("arch", module_arch)
    fill_lazy(model, data_loader, Trainer)
    if config.resume is None or not config.continues_run:
        begin_weights(model, config["arch"], config.find, config.origin)
    device = device_of_process(config.get("n_gpu", 0))
    distribute_model(model, config["trainer"], device)  # it is on the device where it computes then

    # loss and metrics; optimizer and learning-rate schedule, or several by the names of parts of the model
    criterion = combine(config.init_ftn("loss", module_loss), config["loss"], config["arch"].get("output"))
    metrics = config.init_ftn("metrics", module_metric)
    optimizer, lr_scheduler = build_optimizers(config, model, data_loader, criterion)
    trainer = Trainer(model, criterion, metrics, optimizer, config, device, data_loader,
                      valid_data_loader=valid_data_loader, lr_scheduler=lr_scheduler,
                      len_epoch=config["trainer"].get("len_epoch"))  # fmt: skip
    trainer.keep_rng(seed)  # training draws on from here, whatever is built or drawn before it begins
    return trainer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", help="the config file")
    parser.add_argument(
        "-r", "--resume", help="a checkpoint or run folder to go on from; with -c, to start a new run from"
    )
    parser.add_argument(
        "--auto-resume", action="store_true", help="with -c, go on with the newest run of that name and config, if any"
    )
    parser.add_argument("-d", "--device", help="indices of the GPUs to use, as in 0,1")

    # Before a long run; each leaves no run behind.
    trials = parser.add_mutually_exclusive_group()
    trials.add_argument("--check", action="store_true", help="try everything on a few batches and leave no run behind")
    trials.add_argument(
        "--overfit", type=int, metavar="N", help="train on the same N batches again and again: does the loss fall?"
    )
    trials.add_argument("--find-lr", action="store_true", help="raise the learning rate step by step and suggest one")
    trials.add_argument(
        "--find-batch-size", action="store_true", help="double the batch size and tell what fits and how fast it is"
    )

    # Short flags for values of the config; any other value can be set as key.path=value.
    CustomArgs = collections.namedtuple("CustomArgs", "flags type target")
    options = [
        CustomArgs(["--lr", "--learning_rate"], type=float, target="optimizer;args;lr"),
        CustomArgs(["--bs", "--batch_size"], type=int, target="data_loader;args;batch_size"),
    ]
    with errors_without_traceback():
        main(ConfigParser.from_args(parser, options, strict=True))
