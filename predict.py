"""What a trained model says of files: python predict.py -r saved/models/<name>/<run> images/ --output said.csv"""

import argparse  # PYTHON_ARGCOMPLETE_OK
import contextlib
import sys
from pathlib import Path

from espalier.config.command_line import parse_command
from espalier.config.completion import completing
from espalier.inference.bundle_files import is_bundle
from espalier.inference.request import add_flags, asked_for
from espalier.processes.command import errors_without_traceback
from espalier.processes.environment import leave_to_rank_zero
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


def main(args):
    request = asked_for(args)
    # Slow to import, so not before the command line is known to be right.
    from espalier.inference.command import gpu_of, predict_files

    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # log lines, and what a project prints, are no part of a table
        model = load_model(args.resume, gpu_of(args.device), is_raw=args.raw)
        return predict_files(model, request, stdout)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--resume", metavar="RUN", help="a run folder (its best), a checkpoint, or a bundle")
    add_flags(parser)
    parser.add_argument("--raw", action="store_true", help="use the weights themselves, not their average (ema_decay)")
    parser.add_argument("-d", "--device", metavar="GPU", help="index of the GPU to use")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    with errors_without_traceback():
        leave_to_rank_zero("Prediction")  # under torchrun
        args, _ = parse_command(completing(parser).parse_intermixed_args(), (), evaluating=True)
        raise SystemExit(main(args))
