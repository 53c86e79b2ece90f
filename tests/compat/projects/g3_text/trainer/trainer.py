import time
import numpy as np
import torch
from base import BaseTrainer
from utils import MetricTracker


class Trainer(BaseTrainer):
    """
    With a loop over the epochs of its own, that says how long it will take
    """
    def __init__(self, model, criterion, metric_ftns, optimizer, config, device,
                 data_loader, valid_data_loader=None, lr_scheduler=None):
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.config = config
        self.device = device
        self.data_loader = data_loader
        self.len_epoch = len(self.data_loader)
        self.valid_data_loader = valid_data_loader
        self.lr_scheduler = lr_scheduler
        self.log_step = int(np.sqrt(data_loader.batch_size))
        self.train_metrics = MetricTracker('loss', *[m.__name__ for m in self.metric_ftns], writer=self.writer)
        self.valid_metrics = MetricTracker('loss', *[m.__name__ for m in self.metric_ftns], writer=self.writer)

    def train(self):
        not_improved_count = 0
        begin = time.time()
        for epoch in range(self.start_epoch, self.epochs + 1):
            log = {'epoch': epoch}
            log.update(self._train_epoch(epoch))
            for key, value in log.items():
                self.logger.info('    {:15s}: {}'.format(str(key), value))

            done = epoch - self.start_epoch + 1
            eta = (time.time() - begin) / done * (self.epochs - epoch)
            self.logger.info('ETA {:.0f} s'.format(eta))

            best = False
            if self.mnt_mode != 'off':
                improved = (self.mnt_mode == 'min' and log[self.mnt_metric] <= self.mnt_best) or \
                           (self.mnt_mode == 'max' and log[self.mnt_metric] >= self.mnt_best)
                if improved:
                    self.mnt_best = log[self.mnt_metric]
                    not_improved_count = 0
                    best = True
                else:
                    not_improved_count += 1
                if not_improved_count > self.early_stop:
                    self.logger.info('no better {} for {} epochs'.format(self.mnt_metric, self.early_stop))
                    break

            if epoch % self.save_period == 0 or best:
                self._save_checkpoint(epoch, save_best=best)
        self.writer.add_text('result', 'best {} {:.3f}'.format(self.monitor, self.mnt_best))
        self.logger.info('Best: {:.3f}, checkpoints in {}'.format(self.mnt_best, self.checkpoint_dir))

    def _train_epoch(self, epoch):
        self.model.train()
        self.train_metrics.reset()
        for batch_idx, (words, topics) in enumerate(self.data_loader):
            words, topics = words.to(self.device), topics.to(self.device)
            self.optimizer.zero_grad()
            output = self.model(words)
            loss = self.criterion(output, topics)
            loss.backward()
            self.optimizer.step()

            self.writer.set_step((epoch - 1) * self.len_epoch + batch_idx)
            self.train_metrics.update('loss', loss.item())
            for met in self.metric_ftns:
                self.train_metrics.update(met.__name__, met(output, topics))
            if batch_idx % self.log_step == 0:
                self.logger.debug('Train Epoch: {} [{}/{}] Loss: {:.6f}'.format(
                    epoch, batch_idx, self.len_epoch, loss.item()))
        log = self.train_metrics.result()
        log['table'] = self.train_metrics._data.average['loss']
        log.update(**{'val_' + k: v for k, v in self._valid_epoch(epoch).items()})
        self.lr_scheduler.step()
        return log

    def _valid_epoch(self, epoch):
        self.model.eval()
        self.valid_metrics.reset()
        with torch.no_grad():
            for batch_idx, (words, topics) in enumerate(self.valid_data_loader):
                words, topics = words.to(self.device), topics.to(self.device)
                output = self.model(words)
                self.writer.set_step((epoch - 1) * len(self.valid_data_loader) + batch_idx, 'valid')
                self.valid_metrics.update('loss', self.criterion(output, topics).item())
                for met in self.metric_ftns:
                    self.valid_metrics.update(met.__name__, met(output, topics))
        return self.valid_metrics.result()
