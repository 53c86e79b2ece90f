"""One epoch of MNIST as a whole process: python -m benchmarks.shell <contestant> <data folder> <output folder>

Trains on the 60,000 images, evaluates on the 10,000 and saves a checkpoint. Prints what came of it as the last line.
"""

import gc
import importlib
import json
import sys
from pathlib import Path


def main(name: str, data_dir: str, folder: str) -> None:
    if name == "limit":
        gc.disable()  # imports make nothing that needs collecting; train.py does likewise while it imports
    from torch.optim.optimizer import register_optimizer_step_post_hook

    steps: list[int] = []
    register_optimizer_step_post_hook(lambda *call: steps.append(1))
    if name == "limit":
        log = train_at_the_limit(Path(data_dir), Path(folder))
    else:
        from benchmarks.tasks import task_on_disk

        contestant = importlib.import_module(f"benchmarks.contestants.{name}")
        log = contestant.prepare(task_on_disk(Path(data_dir), Path(folder)))()
    print("\n" + json.dumps({"steps": len(steps), **{key: float(value) for key, value in log.items()}}))


def train_at_the_limit(data_dir: Path, folder: Path) -> dict[str, float]:
    """Without torchvision: the files read whole, one gather a batch."""
    import torch

    from benchmarks.contestants import limit
    from benchmarks.tasks import MEAN, STD, LeNet, Task, read_mnist

    def tensors(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = read_mnist(data_dir, part)
        return torch.from_numpy(images).unsqueeze(1).float().sub_(MEAN).div_(STD), torch.from_numpy(labels).long()

    inputs, targets = tensors("train")
    model = LeNet()
    task = Task(lambda: model, torch.nn.NLLLoss, torch.optim.Adam, 0.002, 128, 1, None, folder,
                inputs=inputs, targets=targets)  # fmt: skip
    log = limit.prepare(task)()
    inputs, targets = tensors("t10k")
    model.eval()
    with torch.no_grad():
        hits = sum(
            (model(x).argmax(1) == y).sum() for x, y in zip(inputs.split(1000), targets.split(1000), strict=True)
        )
    torch.save(model.state_dict(), folder / "last.pth")
    return {**log, "test_accuracy": float(hits) / len(inputs)}


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        sys.exit(print(__doc__))
    main(*sys.argv[1:4])
