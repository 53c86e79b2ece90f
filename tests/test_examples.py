"""The examples do what they are there for."""

import json
from importlib.util import find_spec

import pytest
import torch

from examples.detection.baseline import constant_boxes
from examples.detection.data import Shapes
from examples.detection.metric import F1
from examples.gan.metric import frechet_distance
from examples.imbalanced.make_data import main as make_payments
from examples.shards.make_data import main as make_shards
from examples.text.make_data import main as make_news
from examples.timeseries.baseline import forecasts_without_a_model
from examples.timeseries.make_data import main as make_demand
from examples.transfer_learning.make_data import main as make_images

DATASET = "data_loader.args.dataset.args"


def state_of(folder):
    """The weights at the end of a run."""
    return torch.load(folder / "last.pth", weights_only=True)["state_dict"]


@pytest.fixture
def train(run, tmp_path):
    """Train an example, or go on with its run; the run folder."""

    def command(name, *overrides, resume=None, config="config"):
        source = ("-c", f"examples/{name}/{config}.json", f"trainer.save_dir={tmp_path / 'saved'}")
        done = run("train.py", *(source if resume is None else ("-r", resume)), *overrides)
        assert done.returncode == 0, done.stderr
        return next(
            path for path in sorted((tmp_path / "saved/models").glob("*/*")) if f"{path.name}.\n" in done.stdout
        )

    return command


@pytest.mark.slow
def test_own_dataset_is_learned(train, run):
    """Spirals are told apart, also those of the test part."""
    folder = train("custom_dataset")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert max(row["val_accuracy"] for row in rows) > 0.9
    result = run("test.py", "-r", folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert ", 150 samples" in result.stdout


def best_of(folder, name):
    """The largest value of an epoch, and the smallest."""
    values = [json.loads(line)[name] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return max(values), min(values)


@pytest.mark.slow
def test_order_of_words_beats_their_mean(train, tmp_path):
    """A third of the epochs, of as many articles as the script makes."""
    make_news(tmp_path / "news.csv")
    options = [f"{DATASET}.path={tmp_path / 'news.csv'}", "trainer.epochs=6"]
    words, _ = best_of(train("text", *options, config="baseline"), "val_accuracy")
    order, _ = best_of(train("text", *options), "val_accuracy")
    assert words < 0.65 and order > 0.8


@pytest.mark.slow
def test_forecast_beats_the_day_before(train, run, tmp_path, generators_restored):
    """Of the test part; so it does the last value and the week before."""
    make_demand(tmp_path / "demand.csv")
    path = f"{DATASET}.path={tmp_path / 'demand.csv'}"
    folder = train("timeseries", path, "trainer.epochs=3")
    assert run("test.py", "-r", folder).returncode == 0
    error = json.loads((folder / "test.json").read_text())["evaluations"][-1]["metrics"]["mae"]
    overrides = {f"{DATASET}.path": str(tmp_path / "demand.csv"), "trainer.save_dir": str(tmp_path)}
    assert error < 0.95 * min(forecasts_without_a_model(overrides=overrides).values())


@pytest.mark.slow
@pytest.mark.parametrize("config", ["baseline", "config", "weights", "sampler"])
def test_weights_and_sampler_find_more_frauds_in_the_same_order(train, tmp_path, config):
    """Whatever is done, average precision is far above that of a linear model; recall is what differs."""
    make_payments(tmp_path / "payments.csv")
    folder = train("imbalanced", f"{DATASET}.path={tmp_path / 'payments.csv'}", "trainer.epochs=4", config=config)
    assert (best_of(folder, "val_frauds_average_precision")[0] > 0.6) == (config != "baseline")
    most, least = best_of(folder, "val_frauds_recall")
    assert least > 0.8 if config in ("weights", "sampler") else most < 0.8
    (events,) = (folder.parents[2] / "log").glob(f"*/{folder.name}/events*")
    assert b"precision_recall" in events.read_bytes()


@pytest.mark.slow
def test_table_beats_a_linear_model():
    """In the mean of five folds."""
    from examples.tabular.folds import main

    ours, linear = main(epochs=40)
    assert ours > linear


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_streamed_shards_go_on_with_the_very_next_sample(train, tmp_path, processes, num_workers):
    """A run that was cut in the middle of an epoch, and of a shard, ends with the weights of one that was not."""
    make_shards(tmp_path / "shards", num_shards=10, size=80)
    data = [
        f"{section}.args.dataset.args.folder={tmp_path / 'shards'}" for section in ("data_loader", "valid_data_loader")
    ]
    options = [*data, "trainer.epochs=2", f"data_loader.args.num_workers={num_workers}"]
    options += [f"trainer.num_processes={processes}"] if processes > 1 else []
    whole = state_of(train("shards", "name=Whole", *options))
    cut = train("shards", "name=Cut", *options, "trainer.max_steps=16")
    rest = state_of(train("shards", "trainer.max_steps=null", resume=cut))
    assert all(torch.equal(whole[name], rest[name]) for name in whole)


@pytest.mark.slow
def test_transfer_thaws_what_was_learned_elsewhere(train, tmp_path):
    """The head learns at once, the end of the backbone from its epoch on, and its beginning never."""
    make_images(tmp_path, num_letters=2, num_rest=2)
    root = "args.dataset.args.root"
    source = train("transfer_learning", f"data_loader.{root}={tmp_path / 'letters'}", "trainer.epochs=1",
                   config="source")  # fmt: skip
    data = [f"data_loader.{root}={tmp_path / 'few'}", f"valid_data_loader.{root}={tmp_path / 'rest'}"]
    options = [*data, f"arch.init_from.path={source / 'model_best.pth'}", "arch.unfreeze_at.layer4=2"]
    before = torch.load(source / "model_best.pth", weights_only=True)["state_dict"]
    for epochs, changed in ((1, {"fc"}), (2, {"fc", "layer4"})):
        after = state_of(train("transfer_learning", *options, f"name=Thaw{epochs}", f"trainer.epochs={epochs}"))
        assert {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])} == changed


def test_probe_without_timm_says_how_to_install_it(run):
    """The one example that needs more than the extras of this project."""
    if find_spec("timm") is not None:
        pytest.skip("timm is installed")
    done = run("train.py", "-c", "examples/transfer_learning/imagenet.json", "--check")
    assert done.returncode == 2
    assert done.stderr.endswith('  got       "timm.create_model"\n  fix       pip install timm\n')


@pytest.mark.slow
def test_probe_changes_the_head_alone(train, tmp_path):
    """All else is that of a file with names of its own, which stands in for the one of the package."""
    timm = pytest.importorskip("timm")
    make_images(tmp_path / "all", num_letters=0, num_rest=4)
    (tmp_path / "all/few").rename(tmp_path / "all/train")
    given = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save({name.replace("classifier", "_fc").replace("blocks", "_blocks"): value for name, value in given.items()},
               tmp_path / "lite0.pth")  # fmt: skip
    options = [f"user.images={tmp_path / 'all'}", f"arch.init_from.path={tmp_path / 'lite0.pth'}", f"{DATASET}.size=32"]
    split = [f"data_loader.args.split.{part}=0.3" for part in ("valid", "test")]
    after = state_of(train("transfer_learning", *options, *split, "trainer.epochs=1", config="imagenet"))
    changed = {name for name in given if not torch.equal(after[name], given[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


@pytest.mark.slow
def test_shapes_are_found_and_both_dice_scores_agree(train):
    """Better than perfect outlines of one class; and with confidence, on a seed that once had none."""
    folder = train("segmentation", "trainer.epochs=5", "trainer.tensorboard=false", "seed=2")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["val_dice"] > 0.4 and rows[-1]["val_cross_entropy"] < 0.4
    assert all(abs(row["val_dice"] - row["val_dice_torchmetrics"]) < 1e-5 for row in rows)


@pytest.mark.slow
def test_shapes_are_learned_by_a_network_of_a_library(train):
    """With the extra; the second config changes no more than the network and how much it sees."""
    pytest.importorskip("segmentation_models_pytorch")
    options = [f"{DATASET}.num_samples=64", "trainer.epochs=3", "trainer.tensorboard=false"]
    folder = train("segmentation", *options, config="smp")
    most, least = best_of(folder, "loss")
    assert least < 0.8 * most


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_distance_of_images_is_that_of_their_means_where_they_differ_in_nothing_else(shift):
    """Of 49 means of pixels, each moved by the same."""
    images = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(images + shift, images) == pytest.approx(49 * shift**2, abs=1e-4)


@pytest.mark.slow
def test_made_up_digits_come_closer_than_pixels_drawn_by_themselves(train):
    """After a fifth of the epochs; those have a distance of 10."""
    _, least = best_of(train("gan", "n_gpu=0", "trainer.epochs=6", "trainer.tensorboard=false"), "distance")
    assert least < 8


@pytest.mark.slow
def test_clouds_are_told_apart_and_shown(train):
    """With a third of the data and half the epochs, above the 0.59 of a linear model; five of them are under MESH."""
    options = [f"{DATASET}.num_samples=1400", "data_loader.args.split.valid=250", "data_loader.args.split.test=150"]
    folder = train("pointclouds", *options, "trainer.epochs=4")
    assert best_of(folder, "val_accuracy")[0] > 0.65
    (events,) = (folder.parents[2] / "log").glob(f"*/{folder.name}/events*")
    assert all(f"clouds/{index} ".encode() in events.read_bytes() for index in range(5))


@pytest.mark.slow
def test_boxes_are_found_where_no_constant_ones_are(train, run):
    """After two of the epochs; test.py evaluates as many samples as there are pictures."""
    folder = train("detection", "trainer.epochs=2", "trainer.tensorboard=false")
    found, _ = best_of(folder, "val_f1")
    images = Shapes(120)
    targets = [target for _, target in images]
    constant = F1()
    constant.count_in_each(constant_boxes(targets), targets)
    assert found > 0.5 > 2 * constant.compute()
    assert ", 500 samples" in run("test.py", "-r", folder).stdout
