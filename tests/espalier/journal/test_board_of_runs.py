"""What TensorBoard shows of whole runs: one folder each, with curves, pictures, texts and hyperparameters."""

import copy
import json

import pytest
import torch

from espalier.errors import ConfigError
from espalier.journal.event_file import ABOUT_NAME
from espalier.journal.tensorboard import SWITCHES
from parse_config import ConfigParser
from train import build

accumulating = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytestmark = pytest.mark.filterwarnings("ignore")  # the tracer of torch is deprecated, TensorBoard needs it
# What each switch shows, by the tags that begin so.
TAGS = {
    "scalars": ("loss/", "accuracy/"),
    "learning_rate": ("learning_rate",),
    "speed": ("speed/", "memory/"),
    "norms": ("norm/",),
    "images": ("predictions",),
    "worst": ("worst",),
    "confusion": ("confusion",),
    "histograms": ("parameters/",),
    "text": ("config", "commands", "model"),
    "hparams": ("_hparams_/session_start_info",),
}


def ran(config, resume=None, run_folder=None, **trainer):
    """The log folder of a run of this config."""
    config = copy.deepcopy(config)
    config["trainer"].update({"tensorboard": True, "limit_train_batches": 4, "log_step": 1, **trainer})
    trained = build(ConfigParser(config, resume, run_folder=run_folder))
    trained.train()
    return trained.config.log_dir


def shown(folder):
    """What TensorBoard finds in a log folder."""
    sizes = dict.fromkeys(("tensors", "scalars", "images", "histograms"), 0)
    return accumulating.EventAccumulator(str(folder), sizes).Reload()


def tags_of(events):
    """All tags but those of charts and of the end."""
    found = {tag for kind in ("scalars", "images", "histograms", "tensors") for tag in events.Tags()[kind]}
    return found - {"custom_scalars__config__", "_hparams_/session_end_info"}


def texts_of(events):
    """The words of each text by its name."""
    tags = (tag for tag in events.Tags()["tensors"] if tag.endswith("/text_summary"))
    return {tag.split("/")[0]: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in tags}


def hyperparameters_of(events):
    """Those that HPARAMS shows."""
    from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    found = parse_session_start_info_plugin_data(content)
    return found.group_name, {name: getattr(each, each.WhichOneof("kind")) for name, each in found.hparams.items()}


def status_of(events):
    """The status that HPARAMS shows."""
    from tensorboard.plugins.hparams.metadata import parse_session_end_info_plugin_data

    content = events.summary_metadata["_hparams_/session_end_info"].plugin_data.content
    return parse_session_end_info_plugin_data(content).status


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The log folder of a run of three epochs with all defaults, of which the second is no better."""
    from tests.conftest import TINY_CONFIG

    config = copy.deepcopy(TINY_CONFIG)
    config["trainer"].update(save_dir=str(tmp_path_factory.mktemp("whole")), epochs=3, monitor="max val_accuracy")
    return ran(config)


def test_run_is_one_row(whole):
    """All events are in one folder, which TensorBoard calls one run."""
    assert sorted(each.name.split(".")[0] for each in whole.iterdir()) == ["_about", "events", "info"]


def test_confusion_of_the_last_shown_epoch_is_kept_in_the_run_folder(whole):
    """For the page; its diagonal is the accuracy of that epoch."""
    folder = whole.parents[2] / "models" / whole.parent.name / whole.name
    found = json.loads((folder / "validation.json").read_text())
    counts, classes = found["confusion"]["counts"], found["confusion"]["classes"]
    row = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()][-1]
    assert found["epoch"] == row["epoch"] == 3
    assert classes == [str(each) for each in range(len(counts))]
    right = sum(line[place] for place, line in enumerate(counts))
    assert right / sum(map(sum, counts)) == pytest.approx(row["val_accuracy"], abs=1e-6)


def test_run_shows_all_that_the_switches_name(whole):
    """Each tag belongs to a switch, and each switch that is on has a tag."""
    tags = tags_of(shown(whole))
    begins = {switch: [tag for tag in tags if tag.startswith(TAGS[switch])] for switch in TAGS}
    assert all(begins.values()), begins
    assert tags == {tag for each in begins.values() for tag in each}


@pytest.mark.slow
@pytest.mark.parametrize("switch", [each if each == "norms" else pytest.param(each, marks=pytest.mark.slow)
                                    for each in TAGS])  # fmt: skip
def test_run_with_a_switch_off_shows_everything_else(tiny_config, whole, switch):
    """Each kind can be switched off alone."""
    tiny_config["trainer"]["monitor"] = "max val_accuracy"
    found = tags_of(shown(ran(tiny_config, tensorboard={switch: False})))
    assert found == {tag for tag in tags_of(shown(whole)) if not tag.startswith(TAGS[switch])}


def test_every_switch_is_tried():
    """None is forgotten above; those that are off by default have tests of their own."""
    assert {*TAGS} == {*SWITCHES} - {"graph", "pr_curves", "embeddings", "figures"}


def test_best_is_the_value_at_the_best_epoch_so_far(whole):
    """A point at each epoch that is better than those before, of all values of validation: the last is the best."""
    events = shown(whole)
    accuracies = [(each.step, each.value) for each in events.Scalars("accuracy/valid")]
    better = [pair for index, pair in enumerate(accuracies)
              if all(pair[1] > each for _, each in accuracies[:index])]  # fmt: skip
    assert [(each.step, each.value) for each in events.Scalars("accuracy/best")] == better
    losses = {each.step: each.value for each in events.Scalars("loss/valid")}
    assert [(each.step, each.value) for each in events.Scalars("loss/best")] == [(at, losses[at]) for at, _ in better]


def test_pictures_are_at_epochs_that_all_runs_share(tiny_config):
    """However long an epoch takes: 1, 2, 4, ... and the last, at the steps of their ends."""
    events = shown(ran(tiny_config, epochs=5))
    for name in ("predictions", "worst", "confusion"):
        assert [each.step for each in events.Images(name)] == [4, 8, 16, 20]
    assert {tuple(each.step for each in events.Histograms(tag)) for tag in events.Tags()["histograms"]} == {
        (4, 8, 16, 20)
    }


@pytest.mark.slow
def test_epoch_that_turned_out_to_be_the_last_is_shown(tiny_config):
    """One after which patience was out, which nobody knew when its validation was made."""
    tiny_config["optimizer"]["args"]["lr"] = 0.0  # no epoch is better than the first
    events = shown(ran(tiny_config, epochs=20, monitor="min val_loss", early_stop=4))
    for name in ("predictions", "worst", "confusion"):
        assert [each.step for each in events.Images(name)] == [4, 8, 16, 20]


@pytest.mark.slow
def test_last_epoch_before_a_stop_is_shown(tiny_config, monkeypatch):
    """A run that is asked to stop in epoch 4 shows epoch 3 as it was; one that goes on shows it once."""
    tiny_config["trainer"].update(tensorboard=True, limit_train_batches=4, epochs=5)
    trained = build(ConfigParser(tiny_config))
    stop_at(14, trained, monkeypatch)
    with pytest.raises(SystemExit):
        trained.train()
    log, run = trained.config.log_dir, trained.checkpoint_dir
    for name in ("predictions", "worst", "confusion"):
        assert [each.step for each in shown(log).Images(name)] == [4, 8, 12]
    ran(tiny_config, run / "last.pth", run, epochs=5)
    for name in ("predictions", "worst", "confusion"):
        assert [each.step for each in shown(log).Images(name)] == [4, 8, 12, 16, 20]


def stop_at(step, trained, monkeypatch):
    """Let a run be asked to stop after so many steps."""

    def asks(self):
        if self.step == step:
            self._run.stop.reason = "SIGTERM"

    monkeypatch.setattr(type(trained), "on_step_end", asks)


def embeddings_of(log):
    """What TensorBoard reads of each embedding: its name, rows of features, rows of labels, and the size of a tile."""
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    config = text_format.Parse((log / "projector_config.pbtxt").read_text(), ProjectorConfig())
    for each in config.embeddings:
        rows = [line.split("\t") for line in (log / each.tensor_path).read_text().splitlines()]
        labels = (log / each.metadata_path).read_text().splitlines()
        assert (log / each.sprite.image_path).is_file()
        yield each.tensor_name, (len(rows), len(rows[0])), labels, [*each.sprite.single_image_dim]


@pytest.mark.slow
def test_embeddings_are_those_of_shown_epochs(tiny_config):
    """The latest first, each sample with its label; a run that goes on adds to them and writes none twice."""
    log = ran(tiny_config, tensorboard={"embeddings": True})
    run = log.parents[2] / "models" / log.parent.name / log.name
    found = [*embeddings_of(log)]
    assert [name for name, *_ in found] == ["step 8", "step 4"]
    _, (num_samples, _), labels, tile = found[0]
    assert labels[0].split("\t") == ["target", "predicted"]
    assert len(labels) == num_samples + 1 and tile == [32, 32]
    ran(tiny_config, run / "checkpoint-epoch1.pth", run, epochs=3, tensorboard={"embeddings": True})
    assert [name for name, *_ in embeddings_of(log)] == ["step 12", "step 8", "step 4"]


@pytest.mark.parametrize(("name", "expected"), [("conv", "is no module of the model"), (True, None)])
def test_embeddings_of_a_module_that_is_not_there_are_refused(tiny_config, name, expected):
    """Before the first epoch, with what there is."""
    tiny_config["trainer"]["tensorboard"] = {"embeddings": name}
    trained = build(ConfigParser(tiny_config))
    if expected is None:  # a model without a linear layer
        trained.model = torch.nn.Sequential(torch.nn.Flatten())
        expected = "finds no linear layer in the model"
    with pytest.raises(ConfigError, match=f"trainer.tensorboard.embeddings {expected}"):
        trained.train()


def residuals(output, target):
    """A figure of the project."""
    from matplotlib.figure import Figure

    assert len(output) == len(target) > 1
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.subplots().plot(target, output.argmax(dim=1), ".")
    return figure


def fails(output, target):
    """A figure that cannot be made."""
    raise ValueError("nothing to draw")


@pytest.mark.slow
def test_figures_of_the_project_are_shown_and_one_that_fails_is_left_out(tiny_config, caplog):
    """At shown epochs; what fails is told once, and the run goes on."""
    pytest.importorskip("matplotlib")
    names = [f"{__name__}.{each.__name__}" for each in (residuals, fails)]
    events = shown(ran(tiny_config, tensorboard={"figures": names}))
    pictures = events.Images(f"figures/{names[0]}")
    assert [(each.step, each.width, each.height) for each in pictures] == [(4, 100, 50), (8, 100, 50)]
    (told,) = (each.getMessage() for each in caplog.records if "could not be made" in each.getMessage())
    assert told == f"The figure {names[1]} could not be made, and is left out from now on: ValueError: nothing to draw"
    assert not any("fails" in tag for tag in events.Tags()["images"])


def test_curves_of_precision_and_recall_are_there_where_asked_for(tiny_config):
    """One for each class, at the epochs of pictures."""
    events = shown(ran(tiny_config, tensorboard={"pr_curves": True}))
    assert {f"precision_recall/class {index}" for index in range(10)} <= {*events.Tags()["tensors"]}
    assert [each.step for each in events.Tensors("precision_recall/class 3")] == [4, 8]


def test_texts_have_config_command_and_layers(whole):
    """What somebody needs who finds the curves alone."""
    texts = texts_of(shown(whole))
    assert json.loads(texts["config"])["trainer"]["monitor"] == "max val_accuracy"
    assert "python" in texts["commands"]
    assert texts["model"].splitlines()[0] == "| layer | type | output | parameters | trainable | FLOPs |"
    assert "**total**" in texts["model"]


def test_hparams_are_those_of_the_config_under_the_name_of_the_run(whole):
    """Paths without `args`; no list of columns, since that of one run would hide those of all others."""
    events = shown(whole)
    name, found = hyperparameters_of(events)
    assert name == whole.name
    assert found["optimizer.lr"] == 0.1
    assert found["data_loader.batch_size"] == 128
    assert "trainer.tensorboard" not in found
    assert "_hparams_/experiment" not in events.summary_metadata
    assert status_of(events) == 1  # success


@pytest.mark.slow
def test_hparams_of_a_run_that_goes_on_are_rewritten(tiny_config):
    """A learning rate from the command line is what HPARAMS shows from then on; there is still one row."""
    log = ran(tiny_config)
    run = log.parents[2] / "models" / log.parent.name / log.name
    tiny_config["optimizer"]["args"]["lr"] = 0.05
    ran(tiny_config, run / "last.pth", run, epochs=3)
    events = shown(log)
    assert hyperparameters_of(events)[1]["optimizer.lr"] == 0.05
    assert len(events.Tensors("config/text_summary")) == 1
    assert texts_of(events)["commands"].count(" on ") == 2
    assert texts_of(events)["commands"].count(", commit ") in (0, 2)  # the same for both, where there is git
    assert [each.step for each in events.Scalars("loss/train")] == [4, 8, 12]
    assert len(list(log.glob("*tfevents*"))) == 3


def test_run_that_fails_says_so(tiny_config):
    """The column Status of HPARAMS."""
    tiny_config["optimizer"]["args"]["lr"] = 1e30
    tiny_config["trainer"]["tensorboard"] = True
    trained = build(ConfigParser(tiny_config))
    with pytest.raises(Exception, match="finite"):
        trained.train()
    assert status_of(shown(trained.config.log_dir)) == 2  # failure


def test_about_that_cannot_be_written_ends_nothing(tiny_config, monkeypatch):
    """A disk that is full takes the texts, and the run goes on."""

    def fails(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("espalier.journal.about.write_events", fails)
    log = ran(tiny_config)
    assert not (log / ABOUT_NAME).exists()
    assert shown(log).Scalars("loss/train")
