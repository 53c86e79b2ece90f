"""Many runs from one config: python tune.py -c config.json, with what they differ in under "tune", or as flags."""

import argparse  # PYTHON_ARGCOMPLETE_OK
import copy
import importlib
import sys
from pathlib import Path

import train
from espalier.config.command_line import parse_command
from espalier.processes.command import errors_without_traceback
from espalier.search.command import requeue_when_stopped, tree_of_command
from espalier.search.objectives import rules_of
from espalier.search.ray_cluster import RayCluster, connect
from espalier.search.study import has_trials, open_study, study_folder
from espalier.search.workers import CAN_FORK, Forkserver
from parse_config import ROOMS, ConfigParser

# What a trial imports, so that it need not: each is a fork of a process that has done so.
SLOW = ("torch", "torchvision", "tensorboard", "optuna", "train", "trainer", "data_loader.data_loaders", "model.loss",
        "model.metric", "model.model", "espalier.training.build_data", "espalier.training.lazy",
        "espalier.training.param_groups", "espalier.training.weights", "espalier.search.work")  # fmt: skip


def main(args):
    if args.trial is not None:
        return run_trial(args.resume, args.trial)
    tree = tree_of_command(args)
    config = config_of(tree)
    config.check_keys()
    with requeue_when_stopped(config.config):
        return run_study(args, tree, config)


def run_study(args, tree, config):
    """Begin the study of a config, or go on with it. Returns the exit code."""
    server = Forkserver(SLOW) if CAN_FORK and config.num_processes == 1 and args.ray is None else None

    # slow to import, as torch is
    from espalier.device import num_accelerators
    from espalier.processes.launch import num_cores
    from espalier.search.begin import check_ends, slots_of, with_threads
    from espalier.search.run_study import StudyRun
    from espalier.search.sampling import check_search

    rules = rules_of(config.config)
    check_search(config.config["tune"], len(rules))
    num_cpus = config.num_processes * (config["trainer"].get("num_threads") or 1)
    cluster = None if args.ray is None else RayCluster(connect(args.ray), config.config, num_cpus)
    folder = study_folder(config.config) if args.resume is None else Path(args.resume)
    num_slots = slots_of(config.config, num_accelerators())
    if not has_trials(folder):
        with_threads(tree, num_slots if cluster is None else num_cores())
        check_ends(tree, lambda each: try_out(config_of(each)))
    study = open_study(tree, folder)
    if cluster is not None:
        return StudyRun(study, rules, run_trial, None, cluster.num_slots, cluster.start).run()
    return StudyRun(study, rules, run_trial, server, num_slots).run()


def config_of(tree):
    """The config of a tree, which stays as it is."""
    return ConfigParser(copy.deepcopy(tree.values), origins=dict(tree.origins))


def try_out(config):
    """Build what a trial builds; of one of several processes the model alone, where it needs no data."""
    if not config.starts_others:
        train.build(config)
        return
    train.checked(config)
    if not config.tree.from_data:
        config.init_obj("arch", importlib.import_module(ROOMS["arch"]))


def run_trial(folder, number):
    """Run a trial of the study in a folder, from where it stands. Returns the exit code."""
    from espalier.processes.launch import launch
    from espalier.search import work

    def start_others(config):
        return launch(config.num_processes, config["trainer"].get("max_restarts") or 0)

    return work.run_trial(Path(folder), number, ConfigParser, train.build, start_others, evaluation_of)


def evaluation_of(run):
    """A trainer with the best weights of the run in a folder, and the loader of its validation data."""
    from espalier.evaluation.build import build_evaluation
    from espalier.training.build_data import build_data

    given = argparse.Namespace(config=None, resume=run, device=None, overrides=[])
    config = ConfigParser.from_args(given, evaluating=True, strict=True)
    config.config["trainer"].update(tensorboard=False, limit_valid_batches=None)
    rooms = {name: importlib.import_module(room) for name, room in {**ROOMS, "trainer": "trainer"}.items()}
    return build_evaluation(config, rooms, lambda _: build_data(config, rooms["data_loader"])[1])[:2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", help='the config file, with a "tune" section or one of the flags below')
    parser.add_argument("-r", "--resume", metavar="STUDY", help="the folder of a study to go on with")
    parser.add_argument("-d", "--device", help="indices of the GPUs to use, as in 0,1")
    parser.add_argument("--name", help="the name of the study; two of one config need two")
    parser.add_argument("--trials", type=int, metavar="N", help="how many trials a search has")
    parser.add_argument("--jobs", type=int, metavar="N", help="how many trials at once; 1, or one for each GPU")
    parser.add_argument("--grid", nargs="+", metavar="key.path=A,B", help="every combination of these values")
    parser.add_argument("--seeds", type=int, metavar="N", help="each with N seeds")
    parser.add_argument("--folds", type=int, metavar="N", help="each on N folds of the data")
    parser.add_argument("--ray", nargs="?", const="auto", metavar="ADDRESS", help="run trials on a Ray cluster")
    parser.add_argument("--trial", type=int, metavar="N", help="run trial N of the study here, as its workers do")
    with errors_without_traceback():
        args, _ = parse_command(parser, (), evaluating=False, rooms=ROOMS)
        sys.exit(main(args))
