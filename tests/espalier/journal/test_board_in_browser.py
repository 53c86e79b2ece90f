"""TensorBoard's own page, in a browser without a window: what somebody sees of two runs."""

import copy
import shutil
import subprocess
import sys

import pytest

from parse_config import ConfigParser
from tests.conftest import TINY_CONFIG
from tests.servers import free_port, wait_for
from train import build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A function that opens a tab of TensorBoard on two runs, and gives the page."""
    root = tmp_path_factory.mktemp("runs")
    for lr in (0.1, 0.05):
        config = copy.deepcopy(TINY_CONFIG)
        config["optimizer"]["args"]["lr"] = lr
        config["trainer"].update(save_dir=str(root), tensorboard=True, monitor="min val_loss")
        build(ConfigParser(config, run_id=f"lr={lr}")).train()
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(root / "log"), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, "TensorBoard")
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            shown = browser.new_page(viewport={"width": 1600, "height": 1400})

            def look(tab):
                shown.goto(f"http://localhost:{port}/#{tab}")
                shown.reload()
                return shown

            yield look
            browser.close()
    finally:
        server.terminate()
        server.wait()


def sees(page, *words):
    """Wait until each of these words is somewhere on the page."""
    for each in words:
        page.get_by_text(each, exact=True).first.wait_for(timeout=60_000)


def test_browser_shows_a_row_for_each_run_and_curves_side_by_side(page):
    """Two runs are two rows; the charts of a value are neighbours."""
    shown = page("timeseries")
    sees(shown, "Tiny/lr=0.1", "Tiny/lr=0.05", "accuracy/best", "accuracy/train", "accuracy/valid")
    assert shown.locator("runs-data-table tb-data-table-content-row").count() == 2
    shown.locator("line-chart svg path").nth(1).wait_for(state="attached", timeout=60_000)  # a line of each run


def test_browser_shows_hyperparameters_and_best_values(page):
    """What differs comes first, with the values at the best epoch beside it; no run is added for it."""
    shown = page("hparams")
    sees(shown, "optimizer.lr", "accuracy/best", "0.10000", "0.050000")


def test_browser_shows_training_and_validation_in_one_chart(page):
    """Under CUSTOM SCALARS."""
    sees(page("custom_scalars"), "training and validation", "loss", "accuracy")


def test_browser_shows_config_commands_and_layers(page):
    """Under TEXT."""
    shown = page("text")
    sees(shown, "config/text_summary", "commands/text_summary", "model")
    shown.get_by_text("model", exact=True).first.click()
    sees(shown, "model/text_summary", "FLOPs")


def test_browser_shows_pictures(page):
    """The grid of predictions and the confusion matrix, those of both runs side by side."""
    shown = page("images")
    sees(shown, "predictions", "confusion", "Tiny/lr=0.1", "Tiny/lr=0.05")
    shown.locator("img").nth(3).wait_for(timeout=60_000)
