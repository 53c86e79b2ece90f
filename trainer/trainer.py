"""One epoch of training and one of validation. This room is yours: change the loop to what your work needs."""

import torch

from base import BaseTrainer


class Trainer(BaseTrainer):
    """Trains a model whose batches are pairs of input and target."""

    # Names that _train_epoch returns beside loss, metrics and the same with val_; trainer.monitor may watch them too.
    extra_log_names = ()

    def __init__(self, model, criterion, metric_ftns, optimizer, config, device, data_loader,
                 valid_data_loader=None, lr_scheduler=None, len_epoch=None):  # fmt: skip
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.device = device
        self.data_loader = data_loader
        self.valid_data_loader = valid_data_loader
        self.lr_scheduler = lr_scheduler
        self.len_epoch = len_epoch  # None: an epoch is one pass over the data

    def _train_epoch(self, epoch):
        """Train for one epoch; returns the log that is printed, plotted and monitored."""
        self.model.train()
        for batch_idx, batch in self.batches(self.data_loader):
            data, target = self.unpack(batch)
            with self.autocast():
                output = self.forward(data)
                loss = self.criterion(output, target)
            self.update(loss)  # backward, optimizer step, zero_grad, and what trainer.* asks for
            self.track(loss, output, target)  # stays on the device: no waiting here

        log = self.train_metrics.result()
        if self.valid_data_loader is not None:
            log.update(**{f"val_{name}": value for name, value in self._valid_epoch(epoch).items()})
        self.schedule(log)  # the learning rate of the next epoch
        return log

    @torch.no_grad()
    def _valid_epoch(self, epoch):
        """Evaluate on the validation data; test.py uses this too."""
        self.model.eval()
        for batch_idx, batch in self.batches(self.valid_data_loader):
            data, target = self.unpack(batch)
            with self.autocast():
                output = self.forward(data)
                loss = self.criterion(output, target)
            self.track(loss, output, target)
        return self.valid_metrics.result()
