"""Two networks against each other: each batch is one step of either."""

import torch
from torchvision.utils import make_grid

from base import BaseTrainer
from examples.gan.metric import frechet_distance, images_of
from utils import MetricTracker


class GanTrainer(BaseTrainer):
    """Trains `model.generator` and `model.discriminator` with the optimizers of these names."""

    def __init__(self, model, criterion, metric_ftns, optimizer, config, device, data_loader,
                 valid_data_loader=None, lr_scheduler=None, len_epoch=None):  # fmt: skip
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.device, self.data_loader, self.lr_scheduler, self.len_epoch = device, data_loader, lr_scheduler, len_epoch
        self.train_metrics = MetricTracker("loss_d", "loss_g")
        self.valid_data_loader = valid_data_loader
        self.noise, self.more = model.draw(40, device), model.draw(1440, device)  # the same after each epoch

    def _train_epoch(self, epoch):
        self.model.train()
        for batch_idx, batch in self.batches(self.data_loader):
            real, _ = self.unpack(batch)
            with self.autocast():
                fake = self.model(self.model.draw(len(real), self.device))
                loss_d = self.judge(real, 0.9) + self.judge(fake.detach(), 0.0)
            self.update(loss_d, "discriminator")
            with self.autocast():
                loss_g = self.judge(fake, 1.0)
            self.update(loss_g, "generator")
            self.train_metrics.update("loss_d", loss_d, len(real))
            self.train_metrics.update("loss_g", loss_g, len(real))
        return self.train_metrics.result()

    def judge(self, images, truth):
        """How far the discriminator is from calling all `images` real (1) or made up (0)."""
        score = self.model.discriminator(images)
        return self.criterion(score, torch.full_like(score, truth))

    @torch.no_grad()
    def on_epoch_end(self, log):
        self.model.eval()
        if self.valid_data_loader is not None:
            log["distance"] = frechet_distance(self.model(self.more).cpu(), images_of(self.valid_data_loader))
        self.writer.add_image("digits", make_grid(self.model(self.noise), nrow=8, normalize=True), self.step)
