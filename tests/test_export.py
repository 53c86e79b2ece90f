"""export.py as a user runs it."""

import json
import zipfile

import pytest

from espalier.checkpoints.file import load_checkpoint


@pytest.fixture
def copied(finished, tmp_path):
    """A run folder of one's own: the best checkpoint and its config."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model_best.pth", "config.json"):
        (folder / name).write_bytes((finished[0] / name).read_bytes())
    return folder


def test_export_writes_weights_that_init_from_takes(run, copied, tmp_path):
    """What is written is compared on the validation data, told, and taken by a new run."""
    result = run("export.py", "-r", copied, "--format", "safetensors", "--batches", 2)
    assert result.returncode == 0, result.stderr
    path = copied / "model.safetensors"
    first, second, *metrics = result.stdout.splitlines()
    assert first == f"{path}, {path.stat().st_size:,} bytes"
    assert second == "Compared on 64 samples of the validation data: largest difference 0, relative 0"
    assert [line.split()[0] for line in metrics] == ["loss", "accuracy", "top_k_acc"]
    for line in metrics:
        assert line.split()[1].rstrip(",") == line.split()[-1]  # of model and file
    again = run("train.py", "-c", "config.json", f'arch.init_from={{"path": "{path}"}}', "trainer.epochs=1",
                "trainer.limit_train_batches=1", "trainer.limit_valid_batches=1", f"trainer.save_dir={tmp_path}",
                "n_gpu=0")  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "Loaded 8 of 8 weights of the model." in again.stdout + again.stderr


def test_export_into_a_folder_that_is_not_there(run, copied, tmp_path):
    """It is told before anything is computed."""
    result = run("export.py", "-r", copied, "-o", tmp_path / "no" / "model.onnx")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"export error: there is no folder {tmp_path / 'no'}\n  fix       make it: mkdir -p {tmp_path / 'no'}\n"
    )


def test_export_over_a_file_that_is_there(run, copied):
    """It stays as it is, but with --overwrite."""
    path = copied / "model.safetensors"
    path.write_text("mine")
    result = run("export.py", "-r", copied, "--format", "safetensors")
    assert result.returncode == 2
    assert result.stderr == (
        f"export error: {path} is there already\n  fix       --overwrite, or another name with -o\n"
    )
    assert path.read_text() == "mine"
    assert run("export.py", "-r", copied, "--format", "safetensors", "--overwrite").returncode == 0
    assert path.read_bytes()[8:9] == b"{"


def test_export_in_a_format_that_is_not_known(run, copied):
    """The nearest is named."""
    result = run("export.py", "-r", copied, "--format", "onx")
    assert (result.returncode, result.stdout) == (2, "")
    assert "\n  got       onx\n" in result.stderr
    assert result.stderr.endswith("\n  closest   onnx\n")


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [("--opset", "5", "18 to 23"), ("--atol", "-0.5", "0 or more"), ("--atol", "nan", "0 or more")],
)
def test_export_with_a_number_out_of_range(run, copied, flag, value, expected):
    """It is told before anything is loaded."""
    result = run("export.py", "-r", copied, f"{flag}={value}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (f"export error: {flag} is out of range\n  got       {value}\n  expected  {expected}\n")


def test_export_without_its_data(run, copied, tmp_path):
    """A file that could not be compared is not left; other data can be named."""
    config = json.loads((copied / "config.json").read_text())
    config["data_loader"]["args"]["data_dir"] = str(tmp_path / "gone")
    (tmp_path / "other.json").write_text(json.dumps(config))
    result = run("export.py", "-r", copied, "-c", tmp_path / "other.json", "--format", "safetensors")
    assert result.returncode == 2
    head, got, *_, fix = result.stderr.splitlines()
    assert head == (
        "export error: a file is compared with its model before it is left, and the data for that is not here"
    )
    assert str(tmp_path / "gone") in got
    assert fix == "  fix       bring the data back, or name other: -c CONFIG, whose data sections are taken instead"
    assert not (copied / "model.safetensors").exists()


def test_export_of_a_bundle(run, tmp_path):
    """A folder or a zip: it is told what to give instead."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/bundle.json").write_text("{}")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.write(tmp_path / "folder/bundle.json", "Digits/bundle.json")
    for path in (tmp_path / "folder", tmp_path / "packed.zip"):
        result = run("export.py", "-r", path)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr == (
            f"checkpoint error: {path} is a bundle, which has no checkpoint\n  fix       give it to predict.py or "
            "serve.py, or name the run that it was made of; arch.init_from takes the model.safetensors in it\n"
        )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch_export", "safetensors"])
def test_export_of_a_run_with_an_average_adapters_and_half_precision(run, form, tmp_path):
    """The file has the average and merged adapters, gives what the evaluation counts, and precision is told of."""
    result = run("train.py", "-c", "config.json", 'arch.lora={"match": ["fc*"], "rank": 2}', "trainer.ema_decay=0.9",
                 "trainer.precision=bf16", "trainer.epochs=2", "n_gpu=0",
                 f"trainer.save_dir={tmp_path}")  # fmt: skip
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "models").glob("*/*")
    path = tmp_path / "model.file"
    result = run("export.py", "-r", folder, "--format", form, "-o", path, "--batches", 0)
    assert result.returncode == 0, result.stderr
    assert "The run computed in bf16; file and model are compared in 32 bits.\n" in result.stdout
    (line,) = (line.split() for line in result.stdout.splitlines() if line.startswith("  accuracy"))
    raw = run("export.py", "-r", folder, "--format", form, "-o", path, "--batches", 0, "--overwrite", "--raw")
    assert raw.returncode == 0, raw.stderr
    (of_raw,) = (line.split() for line in raw.stdout.splitlines() if line.startswith("  accuracy"))
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    (best,) = (row for row in rows if row.get("epoch") == load_checkpoint(folder / "model_best.pth")["epoch"])
    assert float(line[1].rstrip(",")) == pytest.approx(float(line[-1]), abs=1e-6)
    assert float(line[-1]) == pytest.approx(best["val_accuracy"], abs=0.02)  # which bf16 counted
    assert of_raw != line


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_export_of_a_run_holds_its_preprocessing(run, copied, form):
    """The graph takes the bytes of images, and gives what the evaluation counts."""
    result = run("export.py", "-r", copied, "--format", form, "--batches", 0)
    assert result.returncode == 0, result.stderr
    assert "  takes image: uint8 (batch, 1, 28, 28)\n  gives output, probabilities\n" in result.stdout
    assert "  height and width: fixed at 28: " in result.stdout
    assert "Compared on 143 samples of the validation data: " in result.stdout
