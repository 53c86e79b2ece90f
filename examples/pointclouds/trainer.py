"""A trainer that shows clouds in TensorBoard's tab MESH."""

import torch

from examples.pointclouds.data import NAMES
from trainer.trainer import Trainer

GREEN, RED = (40, 140, 60), (210, 40, 40)
LOOK = {"material": {"cls": "PointsMaterial", "size": 0.06}}  # three.js: points that can be seen


class CloudTrainer(Trainer):
    """Shows the first clouds of validation at each epoch: green where the net is right, else red."""

    @torch.no_grad()
    def on_epoch_end(self, log):
        points, target = (each[: len(NAMES)].to(self.device) for each in next(iter(self.valid_data_loader)))
        self.model.eval()
        found = self.model(points).argmax(dim=1)
        for index, (label, guess) in enumerate(zip(target.tolist(), found.tolist(), strict=True)):
            cloud = points[index : index + 1]  # (1, N, 3)
            colours = torch.tensor(GREEN if guess == label else RED).expand(cloud.shape)
            self.writer.add_mesh(
                f"clouds/{index} {NAMES[label]}", cloud, colours, config_dict=LOOK, global_step=self.step
            )
