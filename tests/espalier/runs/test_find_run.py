"""Which runs a config describes."""

import copy
import json

import pytest

from espalier.checkpoints.run_folder import make_run_folder
from espalier.runs.find_run import newest_run

CONFIG = {
    "name": "Net", "n_gpu": 1, "arch": {"type": "Net"}, "user": {"note": "a"},
    "data_loader": {"type": "Loader", "args": {"batch_size": 32, "num_workers": 2}},
    "trainer": {"epochs": 3, "save_dir": "saved/", "fsdp": {"wrap": ["layer*"], "param_dtype": "fp32"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "is_same"),
    [
        ("n_gpu", 0, True),
        ("test_data_loader", {"type": "Loader"}, True),
        ("lr_scheduler", None, True),
        ("data_loader.args.num_workers", 0, True),
        ("data_loader.args.pin_memory", True, True),
        *[(f"trainer.{name}", value, True) for name, value in {
            "max_time": "1:00:00", "verbosity": 0, "save_period": 2, "save_every_steps": 9, "save_every_minutes": 5,
            "keep_last": 1, "keep_best": 1, "async_save": True, "tensorboard": False, "log_step": 3, "max_restarts": 2,
            "num_processes": 2, "auto_resume": True, "slurm_requeue": True, "profile": {"steps": [1, 2]},
            "save_dir": "./saved", "compile": True, "on_nonfinite": "skip", "precision": "fp32", "accumulate": 1,
            "fsdp": {"wrap": ["other"], "param_dtype": "fp32", "cpu_offload": True},
        }.items()],
        ("seed", 5, False),
        ("arch.type", "Other", False),
        ("user.note", "b", False),
        ("data_loader.args.batch_size", 64, False),
        *[(f"trainer.{name}", value, False) for name, value in {
            "epochs": 4, "precision": "bf16", "accumulate": 2, "clip_grad_norm": 1.0, "ema_decay": 0.9, "own": 1,
            "max_steps": 5, "early_stop": 1, "type": "Other", "fsdp": {"param_dtype": "bf16"},
        }.items()],
    ],
)  # fmt: skip
def test_newest_run_is_of_the_same_config_but_for_how_it_is_done(tmp_path, path, value, is_same):
    """What a run computes makes it another one; where, how long at a time, and what is kept of it, does not."""
    folder = make_run_folder(tmp_path, "Net")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    config = copy.deepcopy(CONFIG)
    *sections, name = path.split(".")
    node = config
    for each in sections:
        node = node[each]
    node[name] = value
    assert newest_run(tmp_path, "Net", config, lambda path: None) == (folder if is_same else None)
