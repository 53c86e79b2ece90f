import time
import torch
from torchvision.utils import make_grid
from trainer.base_seg_trainer import BaseSegTrainer
from utils import MetricTracker
from utils.visual import paint


class SegTrainer(BaseSegTrainer):
    def __init__(self, model, criterion, metric_ftns, optimizer, config, data_loader, valid_data_loader, lr_scheduler,
                 calib_loader=None, colours=None):
        super().__init__(model, criterion, metric_ftns, optimizer, config)
        self.data_loader = data_loader
        self.valid_data_loader = valid_data_loader
        self.calib_loader = calib_loader
        self.lr_scheduler = lr_scheduler
        self.colours = colours
        self.rows = []
        names = [m.__name__ for m in self.metric_ftns]
        self.train_metrics = MetricTracker('loss', *names, writer=self.writer)
        self.valid_metrics = MetricTracker('loss', *names, writer=self.writer)
        self.criterion = self.criterion.to(self.device)

    def _train_epoch(self, epoch):
        start = time.time()
        self.model.train()
        self.train_metrics.reset()
        losses = []
        for batch_idx, (image, mask) in enumerate(self.data_loader):
            image, mask = self.to_device(image, mask)
            output = self.model(image)
            loss = self.criterion(output, mask)
            for group in self.optimizer.param_groups:
                for p in group['params']:
                    p.grad = None
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())

            self.writer.set_step((epoch - 1) * len(self.data_loader) + batch_idx)
            self.train_metrics.update('loss', loss.item())
            for met in self.metric_ftns:
                self.train_metrics.update(met.__name__, met(output, mask))
            if batch_idx % 2 == 0:
                self.logger.debug('Train Epoch: {} {} Loss: {:.6f}'.format(epoch, self._progress(batch_idx), loss.item()))
                self.writer.add_image('prediction', make_grid(
                    [paint(m, self.colours).float() / 255 for m in output.argmax(1)]))

        log = self.train_metrics.result()
        val_log = self._valid_epoch(epoch)
        log.update(**{'val_' + k: v for k, v in val_log.items()})
        log['calibration'] = self._calibrate()
        self.lr_scheduler.step()
        self.rows.append({'epoch': epoch, **log, 'summed': self.total(losses)})
        self.write_table(self.rows)
        self.logger.info('Time: {:.1f} s'.format(time.time() - start))
        return log

    def _valid_epoch(self, epoch):
        self.model.eval()
        self.valid_metrics.reset()
        with torch.no_grad():
            for batch_idx, (image, mask) in enumerate(self.valid_data_loader):
                image, mask = self.to_device(image, mask)
                output = self.model(image)
                self.writer.set_step((epoch - 1) * len(self.valid_data_loader) + batch_idx, mode='valid')
                self.valid_metrics.update('loss', self.criterion(output, mask).item())
                for met in self.metric_ftns:
                    self.valid_metrics.update(met.__name__, met(output, mask))
        return self.valid_metrics.result()

    def _calibrate(self):
        if self.calib_loader is None:
            return 0.0
        self.model.eval()
        right, n = 0, 0
        with torch.no_grad():
            for image, mask in self.calib_loader:
                image, mask = self.to_device(image, mask)
                prob, pred = self.model(image).softmax(1).max(1)
                right += (pred == mask)[prob > 0.5].sum().item()
                n += (prob > 0.5).sum().item()
        return right / max(n, 1)

    def _progress(self, batch_idx):
        done = batch_idx * self.data_loader.batch_size
        return '{}/{} pictures'.format(done, self.data_loader.n_samples)
