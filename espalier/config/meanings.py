"""What each key of the config is for, and an example of its value as JSON: for `--help KEY`, editors and the reference.

The rule and the default of a key are in its table (`schema.py`, `settings.py`, `tune.py`).
"""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """A sentence on a key, and a value for it, as JSON."""

    text: str
    example: str


_TOP = {
    "name": ("what runs are called: they go to saved/models/<name>/", '"Digits_LeNet"'),
    "n_gpu": ("how many GPUs; 0 computes on the CPU, more than 1 starts a process for each", "1"),
    "seed": ("of everything random: weights, order, split, augmentation; left out: 123", "123"),
    "arch": ("the network: a class or function of model/model.py, or a dotted path",
             '{"type": "MnistModel", "args": {"num_classes": 10}}'),
    "data_loader": ("the training data: a loader of data_loader/data_loaders.py, or a dotted path",
                    '{"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 32}}'),
    "valid_data_loader": ("validation data of its own, or several sets by name; else it is split off data_loader",
                          '{"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 256}}'),
    "test_data_loader": ("data of its own for test.py, or several sets by name",
                         '{"type": "DigitsDataLoader", "args": {"data_dir": "data/digits", "batch_size": 256}}'),
    "optimizer": ("one of torch.optim, or a dotted path; several by name or in a list share the model's parameters",
                  '{"type": "AdamW", "args": {"lr": 0.001}}'),
    "lr_scheduler": ("how the learning rate changes: one of torch.optim.lr_scheduler, or a dotted path",
                     '{"type": "StepLR", "args": {"step_size": 8, "gamma": 0.3}}'),
    "loss": ("a function of model/loss.py, or a dotted path; a list is a sum, each with its weight",
             '{"type": "torch.nn.CrossEntropyLoss", "args": {"label_smoothing": 0.1}}'),
    "metrics": ("functions of model/metric.py, or dotted paths, computed on training and validation data",
                '["accuracy", {"type": "top_k_acc", "args": {"k": 2}, "name": "top2"}]'),
    "trainer": ("how long, how and where to train", '{"epochs": 24, "monitor": "min val_loss", "early_stop": 10}'),
    "writers": ("where the numbers of a run go; left out: to TensorBoard, as trainer.tensorboard says",
                '["tensorboard", "csv"]'),
    "tune": ("what the runs of a study differ in, and how many there are: for tune.py", '{"seeds": 5}'),
    "user": ("values of your own, which the framework hands on and does not check", '{"image_size": 64}'),
    "extends": ("a config, or several, to start from: paths relative to this file", '"../config.json"'),
}  # fmt: skip


def _typed(kind: str, arguments: str) -> dict[str, tuple[str, str]]:
    return {
        "type": ("the name of a class or function in the module for this section, or a dotted path", f'"{kind}"'),
        "args": ("the arguments that it is called with, by name", arguments),
    }


_SET = _typed("DigitsDataLoader", '{"data_dir": "data/digits", "batch_size": 32}')
_NAMED = {"name": ("what it is called in the log and in curves; left out: as the function", '"top2"')}
_OUTPUT = {"output": ('which part of what the model gives is its output; "*" is all of it', '"logits"')}
_WHICH = {
    "match": ("patterns of the names of parameters or modules", '"encoder.*"'),
    "ndim": ("only parameters of so many dimensions", "2"),
}
_LOADER = {
    "batch_size": ("samples a batch, of all processes together", "32"),
    "num_workers": ('processes that load data; 0: the training process itself; "auto": as many as cores allow', "4"),
    "validation_split": ("the share of samples, or their number, that is kept for validation", "0.1"),
    "shuffle": ("a new order each epoch", "true"),
    "drop_last": ("leave out a last batch that is not full", "true"),
    "pin_memory": ("load into page-locked memory, from which copies to a GPU are faster", "true"),
    "persistent_workers": ("keep the processes that load from one epoch to the next", "true"),
    "prefetch_factor": ("batches that each worker loads ahead", "4"),
    "timeout": ("seconds to wait for a batch of the workers; 0: for ever", "60"),
    "seed": ("of order and split; left out: the seed of the config", "7"),
    "split_seed": ("of the split alone; left out: as seed; 0 gives the split of the classic template", "0"),
}
_TRAINER = {
    "epochs": ("passes over the training data", "24"),
    "num_processes": ("processes on the CPU, as n_gpu on GPUs; batch_size stays that of all together", "2"),
    "max_restarts": ("how often to go on from the last checkpoint when one of several processes dies", "3"),
    "strategy": ("of several processes: the whole model on each (ddp), or a part on each (fsdp)", '"fsdp"'),
    "fsdp": ("what is sharded with the strategy fsdp, and in which numbers", '{"wrap": ["layer*"]}'),
    "find_unused_parameters": ("for a model that does not use all its parameters in every batch", "true"),
    "sync_batchnorm": ("batch norm over the batches of all processes, on GPUs", "true"),
    "scale_lr": ("the batch size that the learning rate is meant for; other sizes get it in proportion", "32"),
    "checkpoint": ("one file (whole), or a file of each process with its part (sharded)", '"sharded"'),
    "save_dir": ("the folder of runs and logs", '"saved/"'),
    "save_period": ("epochs between checkpoints; the best and the last are always saved", "1"),
    "save_every_steps": ("optimizer steps between further checkpoints (last.pth) within an epoch", "1000"),
    "save_every_minutes": ("minutes between further checkpoints (last.pth) within an epoch", "10"),
    "keep_last": ("how many of the newest checkpoints stay; left out, and keep_best too: all", "3"),
    "keep_best": ("how many checkpoints stay that are best by the monitor", "2"),
    "async_save": ("write checkpoints beside the training loop; left out: on a GPU, and in shards", "true"),
    "on_save_error": ("what to do when a checkpoint cannot be written, as on a full disk", '"stop"'),
    "auto_resume": ("go on with the newest run of this name and config, if there is one", "true"),
    "max_time": ("save and end after this time, with exit code 143", '"11:50:00"'),
    "slurm_requeue": ("at SIGUSR1 and at max_time, ask SLURM to start the job again", "true"),
    "on_end_command": ("a shell command when the run ends; how it ended is in the environment", '"./tell.sh"'),
    "report": ("leave a page, report.html, in the run folder at the end", "false"),
    "on_nonfinite": ("on NaN or infinity: stop, skip the step, or roll back with half the learning rate", '"skip"'),
    "nonfinite_limit": ("steps skipped in a row, or rollbacks, before the run ends", "3"),
    "verbosity": ("what the log has: 0 warnings, 1 also information, 2 everything", "1"),
    "monitor": ("which value says what is best: min or max and its name, or off", '"max val_accuracy"'),
    "early_stop": ("epochs without a better one before the run ends; 0: never", "10"),
    "len_epoch": ("batches an epoch; left out: one pass over the data", "500"),
    "type": ("which trainer: a class of trainer/, or a dotted path; left out: Trainer", '"Trainer"'),
    "precision": ("in which numbers the model computes; fp16 needs a GPU", '"bf16"'),
    "accumulate": ("batches whose gradients make one optimizer step", "4"),
    "clip_grad_norm": ("the largest norm that the gradients of a step may have", "1.0"),
    "clip_grad_value": ("the largest value that each gradient may have", "0.5"),
    "ema_decay": ("evaluate with a moving average of the weights, of which this share stays at each step", "0.999"),
    "swa": ("evaluate with the mean of the weights from some point on",
            '{"start": "75%", "every": "1 epoch", "lr": 0.01}'),
    "deterministic": ("only operations that give the same bits each time, on a GPU too", "true"),
    "num_threads": ("threads of the CPU for PyTorch; left out: as PyTorch decides", "4"),
    "compile": ("torch.compile: true, or its mode", '"reduce-overhead"'),
    "channels_last": ("the memory layout in which convolutions on GPUs are fastest", "true"),
    "activation_checkpointing": ("modules that compute again in the backward pass, to need less memory", '["layer*"]'),
    "max_steps": ("the run also ends after so many optimizer steps", "10000"),
    "eval_every_steps": ("validate also within an epoch, every so many optimizer steps", "500"),
    "evaluate_first": ("evaluate before training, too, as step 0", "true"),
    "limit_train_batches": ("only so many batches of training an epoch, to try things out", "10"),
    "limit_valid_batches": ("only so many batches of validation, to try things out", "10"),
    "sanity_valid_batches": ("validate on so many batches before training, to find a fault there at once", "2"),
    "log_step": ("batches between two lines on the loss; left out: twenty lines an epoch", "50"),
    "tensorboard": ("write for TensorBoard: true, false, or switches for what is written", '{"histograms": false}'),
    "watch": ("modules whose outputs, and their gradients, have statistics in the curves", '["conv*"]'),
    "profile": ("record where the time of some steps goes", '{"steps": [10, 20]}'),
}  # fmt: skip
_BOARD = {
    "scalars": ("curves of loss and metrics", "true"),
    "learning_rate": ("the learning rate of each group of parameters", "true"),
    "speed": ("samples and steps a second, and memory", "true"),
    "norms": ("the norm of all gradients, after clipping, and of the weights", "true"),
    "images": ("the first batch of validation, with predictions", "true"),
    "worst": ("the 16 samples of validation with the highest loss, of classes", "true"),
    "confusion": ("which class was taken for which", "true"),
    "histograms": ("the values of every parameter", "false"),
    "text": ("config, commands, and a table of the layers", "true"),
    "hparams": ("the values of the config beside the last and best values of all curves", "true"),
    "pr_curves": ("precision over recall, of up to 20 classes", "true"),
    "graph": ("the graph of the model", "true"),
    "embeddings": ("the input of the last linear layer, or of the module that is named, for the projector", '"conv2"'),
    "figures": ("functions of yours that draw figures of outputs and targets", '["model.metric.residuals"]'),
}
_TUNE = {
    "name": ("of the study, and of its runs", '"search"'),
    "space": ("what is searched: for the path of each value a range; or the name of a file that has this",
              '{"optimizer.args.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": true}}'),
    "num_trials": ("trials of a search", "40"),
    "objectives": ("what trials are judged by; left out: trainer.monitor", '["min val_loss"]'),
    "sampler": ("what chooses the values: one of optuna.samplers; left out: TPE", '{"type": "RandomSampler"}'),
    "pruner": ("what ends trials early: one of optuna.pruners; left out: none", '{"type": "MedianPruner"}'),
    "seed": ("of the sampler; left out: that of the config", "1"),
    "storage": ("a database of Optuna's, in place of the file journal.log", '"sqlite:///study.db"'),
    "grid": ("a list of values for each path: every combination is a run", '{"optimizer.args.lr": [0.01, 0.001]}'),
    "seeds": ("so many runs that differ in the seed", "5"),
    "folds": ("so many runs, each validated on another part of the data", "5"),
    "jobs": ("trials at once; left out: one for each GPU, or one", "2"),
    "max_time": ("save the trials and end after this time", '"11:50:00"'),
}  # fmt: skip
_TEXTS: dict[tuple[str, ...], dict[str, tuple[str, str]]] = {
    (): _TOP,
    **{(name,): _SET for name in ("data_loader", "valid_data_loader", "test_data_loader")},
    ("writers",): _typed("csv", "{}"),
    **{(name, "args"): _LOADER for name in ("data_loader", "valid_data_loader", "test_data_loader")},
    ("metrics",): {**_typed("top_k_acc", '{"k": 2}'), **_NAMED},
    ("loss",): {
        **_typed("torch.nn.CrossEntropyLoss", '{"label_smoothing": 0.1}'), **_NAMED, **_OUTPUT,
        "weight": ("what it counts in the sum; left out: 1", "0.3"),
    },
    ("lr_scheduler",): {
        **_typed("StepLR", '{"step_size": 8, "gamma": 0.3}'),
        "interval": ("after what it makes a step: an epoch, or an optimizer step", '"step"'),
        "monitor": ("what ReduceLROnPlateau watches; left out: as trainer.monitor", '"val_loss"'),
    },
    ("optimizer",): {
        **_typed("AdamW", '{"lr": 0.001}'), **_WHICH,
        "param_groups": ("options of their own for some parameters; the first that fits counts",
                         '[{"match": "heads", "lr_mult": 10}, {"ndim": 1, "weight_decay": 0.0}]'),
        "layer_decay": ("learning rates that fall from the last layer to the first",
                        '{"rate": 0.75, "layers": ["encoder.layers.*"]}'),
    },
    ("optimizer", "param_groups"): {**_WHICH, "lr_mult": ("a multiple of the optimizer's learning rate", "0.1")},
    ("optimizer", "layer_decay"): {
        "rate": ("the learning rate of each layer is this share of the next one's", "0.75"),
        "layers": ("the modules that are the layers, in their order", '["encoder.layers.*"]'),
    },
    ("arch",): {
        **_typed("MnistModel", '{"num_classes": 10}'), **_OUTPUT,
        "replace": ("modules to put in place of others, by name, such as a new head",
                    '{"fc": {"type": "torch.nn.Linear", "args": {"out_features": 10}}}'),
        "lora": ("train small adapters beside weights that stay as they are", '{"match": ["*.mlp"], "rank": 8}'),
        "init": ("how weights begin: a function, for the parameters that match",
                 '{"type": "torch.nn.init.kaiming_normal_", "match": "conv*.weight"}'),
        "init_from": ("a file of weights to begin with", '{"path": "weights.pth", "skip": ["fc.*"]}'),
        "freeze": ("parameters or modules that are not trained", '["conv1", "layer1"]'),
        "train": ("the only parameters or modules that are trained", '["fc"]'),
        "unfreeze_at": ("from which epoch on frozen ones are trained, by pattern", '{"layer4": 3, "layer3": 5}'),
    },
    ("arch", "init"): {
        **_typed("torch.nn.init.kaiming_normal_", '{"nonlinearity": "relu"}'),
        "match": ("which parameters it is for", '"conv*.weight"'),
    },
    ("arch", "init_from"): {
        "path": ("the file: a checkpoint, a state dict, or safetensors", '"resnet18.pth"'),
        "rename": ("beginnings of names in the file, and what stands for each here", '{"backbone.": ""}'),
        "skip": ("weights of the file that are not taken", '["fc.*"]'),
        "by": ("how weights find their parameters: by name, or in their order", '"order"'),
    },
    ("arch", "lora"): {
        "match": ("the modules that get adapters", '["*.mlp"]'),
        "rank": ("the inner size of an adapter", "8"),
        "alpha": ("an adapter counts alpha / rank; left out: as rank", "16"),
    },
    ("trainer",): _TRAINER,
    ("trainer", "tensorboard"): _BOARD,
    ("trainer", "profile"): {"steps": ("the first and the last step to record", "[10, 20]")},
    ("trainer", "swa"): {
        "start": ("from where on: a share of the run, epochs, or steps", '"75%"'),
        "every": ("how often the weights enter the mean", '"1 epoch"'),
        "lr": ("the learning rate from there on; left out: as the schedule has it", "0.01"),
    },
    ("trainer", "fsdp"): {
        "wrap": ("modules that are put together one at a time while they compute", '["layers.*"]'),
        "methods": ("methods beside forward that compute with the weights", '["encode"]'),
        "param_dtype": ("in which numbers the model computes", '"bf16"'),
        "reduce_dtype": ("in which numbers gradients are added", '"fp32"'),
        "cpu_offload": ("keep the parts in the memory of the CPU", "true"),
    },
    ("tune",): _TUNE,
    ("tune", "sampler"): _typed("TPESampler", '{"n_startup_trials": 5}'),
    ("tune", "pruner"): _typed("MedianPruner", '{"n_warmup_steps": 2}'),
}  # fmt: skip


def meaning_of(section: tuple[str, ...], name: str) -> Meaning:
    """What a key of a section is for, and an example."""
    return Meaning(*_TEXTS[section][name])
