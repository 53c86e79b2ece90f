"""Evaluate a checkpoint on the test data: python test.py -r saved/models/<name>/<run>/model_best.pth"""

import argparse  # PYTHON_ARGCOMPLETE_OK

from espalier.config.command_line import parse_command
from espalier.errors import UserError, counted, printable
from espalier.evaluation.request import Request, add_flags, evaluations_of
from espalier.journal.evaluations import add_evaluation, folder_of
from espalier.processes.command import errors_without_traceback
from espalier.processes.environment import leave_to_rank_zero
from espalier.report.page import refresh_own_page
from parse_config import ROOMS, ConfigParser

LIMIT = "trainer.limit_valid_batches"


def main(config, is_raw=False, request=Request()):  # noqa: B008 - frozen
    # Slow to import, so not before the command line is known to be right.
    import data_loader.data_loaders as module_data
    import model.loss as module_loss
    import model.metric as module_metric
    import model.model as module_arch
    import trainer as module_trainer
    from espalier.checkpoints.mean import average_in, mean_told
    from espalier.evaluation.build import build_evaluation
    from espalier.evaluation.findings import findings, watch
    from espalier.evaluation.tta import look_in_several_ways
    from espalier.training.build_data import build_test_data, section_of_test

    limit = config.overrides.get(LIMIT)  # that of training is not for tests
    if isinstance(settings := config.config.setdefault("trainer", {}), dict):  # else the check tells
        settings["tensorboard"] = False  # evaluating adds nothing to the curves of the run
        settings["limit_valid_batches"] = limit
    has_own = "test_data_loader" in config
    config.check(sections=("test_data_loader" if has_own else "data_loader", "arch", "loss", "metrics"))
    section = section_of_test(config, module_data)
    rooms = {"arch": module_arch, "loss": module_loss, "metrics": module_metric, "trainer": module_trainer}
    trainer, data_loader, checkpoint = build_evaluation(
        config, rooms, lambda checkpoint: build_test_data(config, section, module_data, checkpoint), is_raw=is_raw
    )
    epoch, mean = checkpoint.get("epoch", 0), mean_told(checkpoint)
    num_views = look_in_several_ways(trainer, data_loader, config, request.tta) if request.tta else 1
    watch(trainer, request)
    result = trainer.evaluate_epoch(epoch)
    num_samples = trainer.valid_metrics.num_samples
    found = {
        "checkpoint": config.resume.name,
        "epoch": epoch,
        "step": checkpoint.get("progress", {}).get("step"),
        "weights": mean or ("raw" if is_raw or average_in(checkpoint) is None else "average"),
        "section": section,
        "data": config.as_saved(config.config)[section],
        "limit_valid_batches": limit,
        "tta": [*request.tta] or None,
        "num_samples": num_samples,
        "metrics": result,
    }
    report = config.resume.with_name("test.json")
    more = findings(trainer, data_loader, request, result, folder_of(report, found))
    found.update(intervals=more.intervals, **({"sets": more.sets} if more.sets else {}))
    told = add_evaluation(report, found)  # before anything is printed, which may fail
    refresh_own_page(report.parent)
    only = "" if limit is None else f", the first {counted(limit, 'batch')} alone"
    only += f", the mean of {counted(num_views, 'view')}" if request.tta else ""
    samples = counted(num_samples, "sample")
    print(printable(f"{config.resume}, epoch {epoch}, {samples}{only}{f', {mean}' if mean else ''}"))
    for name, value in result.items():
        between = more.intervals.get(name)  # of 95 %
        print(
            printable(f"  {name:<16} {value:.6g}" + ("" if between is None else " [{:.4g}, {:.4g}]".format(*between)))
        )
    print(*map(printable, more.lines), sep="\n", end="\n" if more.lines else "")
    print(printable(told))
    if more.failed:
        raise UserError("\n".join(more.failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "-r", "--resume", nargs="+", action="extend", help="a checkpoint, or a run folder for its best one; or several"
    )
    parser.add_argument(
        "-c", "--config", action="append", help="a config whose data is used instead; or several: -c -c"
    )
    parser.add_argument("-d", "--device", help="index of the GPU to use")
    parser.add_argument("--raw", action="store_true", help="use the weights themselves, not their average (ema_decay)")
    add_flags(parser)
    with errors_without_traceback():
        leave_to_rank_zero("Evaluation")  # under torchrun
        args, _ = parse_command(parser, (), evaluating=True, rooms=ROOMS)
        for one, request in evaluations_of(args):  # each checkpoint on the data of each config
            main(ConfigParser.from_args(one, evaluating=True, strict=True), is_raw=args.raw, request=request)
