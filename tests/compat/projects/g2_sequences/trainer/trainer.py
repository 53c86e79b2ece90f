import numpy as np
import torch
from base import BaseTrainer
from utils import inf_loop, MetricTracker


class Trainer(BaseTrainer):
    def __init__(self, model, criterion, metric_ftns, optimizer, config, data_loader,
                 valid_data_loader=None, lr_scheduler=None, len_epoch=None):
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.config = config
        self.data_loader = data_loader
        if len_epoch is None:
            self.len_epoch = len(self.data_loader)
        else:
            self.data_loader = inf_loop(data_loader)
            self.len_epoch = len_epoch
        self.valid_data_loader = valid_data_loader
        self.do_validation = self.valid_data_loader is not None
        self.lr_scheduler = lr_scheduler
        self.log_step = int(np.sqrt(data_loader.batch_size))
        self.clip = config['trainer'].get('clip', 5.0)
        self.short = config['trainer'].get('short', 3)

        self.train_metrics = MetricTracker('loss', *[m.__name__ for m in self.metric_ftns], writer=self.writer)
        self.valid_metrics = MetricTracker('loss', *[m.__name__ for m in self.metric_ftns], writer=self.writer)

    def _train_epoch(self, epoch):
        self.model.train()
        self.train_metrics.reset()
        by_length = {'short': [], 'long': []}
        for batch_idx, (padded, lengths, target) in enumerate(self.data_loader):
            padded, target = padded.to(self.device), target.to(self.device)

            self.optimizer.zero_grad()
            output = self.model(padded, lengths)
            loss = self.criterion(output, target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
            self.optimizer.step()

            self.writer.set_step((epoch - 1) * self.len_epoch + batch_idx)
            self.train_metrics.update('loss', loss.item(), n=len(target))
            for met in self.metric_ftns:
                self.train_metrics.update(met.__name__, met(output, target))

            hits = (output.argmax(1) == target).cpu().float()
            by_length['short'] += hits[lengths <= self.short].tolist()
            by_length['long'] += hits[lengths > self.short].tolist()

            if batch_idx % self.log_step == 0:
                self.logger.debug('Train Epoch: {} {} Loss: {:.6f}'.format(epoch, self._progress(batch_idx), loss))

            if batch_idx == self.len_epoch:
                break
        log = self.train_metrics.result()
        log['by length'] = {k: float(np.mean(v)) for k, v in by_length.items()}
        log['remark'] = self.config['trainer'].get('remark', '')

        if self.do_validation:
            val_log = self._valid_epoch(epoch)
            log.update(**{'val_' + k: v for k, v in val_log.items()})
            if self.lr_scheduler is not None:
                self.lr_scheduler.step(val_log['loss'])
        log['lr'] = self.optimizer.param_groups[0]['lr']

        report = self.config['trainer'].get('report')
        if report is not None:
            report({'epoch': epoch, **log})
        return log

    def _valid_epoch(self, epoch):
        self.model.eval()
        self.valid_metrics.reset()
        with torch.no_grad():
            for batch_idx, (padded, lengths, target) in enumerate(self.valid_data_loader):
                padded, target = padded.to(self.device), target.to(self.device)
                output = self.model(padded, lengths)
                loss = self.criterion(output, target)

                self.writer.set_step((epoch - 1) * len(self.valid_data_loader) + batch_idx, 'valid')
                self.valid_metrics.update('loss', loss.item(), n=len(target))
                for met in self.metric_ftns:
                    self.valid_metrics.update(met.__name__, met(output, target))

        for name, p in self.model.named_parameters():
            self.writer.add_histogram(name, p, bins='auto')
        result = self.valid_metrics.result()
        # a tensor, not a number
        result['worst'] = torch.tensor([self.valid_metrics.avg('accuracy'), 1.0]).min()
        return result

    def _progress(self, batch_idx):
        base = '[{}/{} ({:.0f}%)]'
        if hasattr(self.data_loader, 'n_samples'):
            current = batch_idx * self.data_loader.batch_size
            total = self.data_loader.n_samples
        else:
            current = batch_idx
            total = self.len_epoch
        return base.format(current, total, 100.0 * current / total)
