"""A trainer that shows masks in TensorBoard."""

import torch
from torchvision.utils import make_grid

from trainer.trainer import Trainer

COLOURS = torch.tensor([[0, 0, 0], [230, 80, 60], [80, 200, 90], [90, 120, 250]], dtype=torch.uint8)


class SegmentationTrainer(Trainer):
    """Puts images, masks and predictions into TensorBoard, in three rows."""

    @torch.no_grad()
    def on_epoch_end(self, log):
        self.model.eval()
        images, masks = next(iter(self.valid_data_loader))
        predicted = self.model(images[:8].to(self.device)).argmax(dim=1).cpu()
        drawn = [COLOURS[each].movedim(-1, 1) for each in (masks[:8], predicted)]  # (8, 3, H, W)
        rows = torch.cat([(images[:8] * 170).clamp(0, 255).to(torch.uint8), *drawn])
        self.writer.add_image("image, mask, prediction", make_grid(rows, nrow=8, pad_value=255), self.step)
