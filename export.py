"""A trained model as a file that others can run: python export.py -r saved/models/<name>/<run> --format onnx"""

import argparse  # PYTHON_ARGCOMPLETE_OK

from espalier.config.command_line import parse_command
from espalier.processes.command import errors_without_traceback
from espalier.processes.environment import leave_to_rank_zero
from parse_config import ROOMS, ConfigParser

NUM_BATCHES = 100


def main(config, args):
    # Slow to import, so not before the command line is known to be right.
    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.metric as module_metric
    import model.model as module_arch
    import trainer as module_trainer
    from espalier.export.bundle_command import bundle_run
    from espalier.export.command import export_run

    rooms = {"arch": module_arch, "loss": module_loss, "metrics": module_metric, "trainer": module_trainer,
             "data_loader": module_data}  # fmt: skip
    return bundle_run(config, rooms, args) if args.bundle or args.hub_folder else export_run(config, rooms, args)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-r", "--resume", help="a checkpoint, or a run folder for its best one")
    parser.add_argument("-c", "--config", help="a config whose data the file is compared on instead")
    parser.add_argument("--format", default="onnx", help="onnx (default), torch_export or safetensors")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write it; else into the run folder")
    parser.add_argument("--bundle", metavar="DIR|FILE.zip", help="write all that others need to use it; --format all")
    parser.add_argument("--hub-folder", metavar="DIR", help="write what the Hugging Face hub expects of a model")
    parser.add_argument("--name", help="of the bundle; else that of the config")
    parser.add_argument("--licence", metavar="TEXT", help='under which others may use it, such as "MIT"')
    parser.add_argument("--overwrite", action="store_true", help="let it take the place of a file")
    parser.add_argument("--atol", type=float, help="what is allowed: a difference of ATOL + RTOL * |x|")
    parser.add_argument("--rtol", type=float, help="see --atol")
    parser.add_argument("--batches", type=int, default=NUM_BATCHES, metavar="N",
                        help=f"compare on the first N batches (default {NUM_BATCHES}; 0 for all)")  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="compute in 8 bits (onnx): smaller, and often faster")
    parser.add_argument("--int8-samples", type=int, metavar="N", help="of the training data, for ranges (default 256)")
    parser.add_argument("--most-loss", type=float, metavar="X", help="refuse it where accuracy, or the monitored "
                        "metric, is worse by more (default 0.01)")  # fmt: skip
    parser.add_argument("--opset", type=int, metavar="N", help="of the operators of ONNX")
    parser.add_argument("--raw", action="store_true", help="take the weights themselves, not their average (ema_decay)")
    parser.add_argument("-d", "--device", help="index of the GPU to use")
    with errors_without_traceback():
        leave_to_rank_zero("Export")  # under torchrun
        args, _ = parse_command(parser, (), evaluating=True, rooms=ROOMS)
        main(ConfigParser.from_args(args, evaluating=True, strict=True), args)
