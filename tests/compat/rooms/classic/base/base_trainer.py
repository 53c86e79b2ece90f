from abc import abstractmethod

import torch
from numpy import inf

from logger import TensorboardWriter


class BaseTrainer:
    """
    Parent of all trainers
    """
    def __init__(self, model, criterion, metric_ftns, optimizer, config):
        self.config = config
        self.logger = config.get_logger('trainer', config['trainer']['verbosity'])

        # generation 2: the device is chosen here. Generation 3 does it in train.py, and sets self.device again.
        self.device, device_ids = self._prepare_device(config['n_gpu'])
        self.model = model.to(self.device)
        if len(device_ids) > 1:
            self.model = torch.nn.DataParallel(model, device_ids=device_ids)

        self.criterion = criterion
        self.metric_ftns = metric_ftns
        self.optimizer = optimizer

        section = config['trainer']
        self.epochs = section['epochs']
        self.save_period = section['save_period']
        self.monitor = section.get('monitor', 'off')

        if self.monitor == 'off':
            self.mnt_mode = 'off'
            self.mnt_best = 0
        else:
            self.mnt_mode, self.mnt_metric = self.monitor.split()
            assert self.mnt_mode in ('min', 'max')
            self.mnt_best = inf if self.mnt_mode == 'min' else -inf
            self.early_stop = section.get('early_stop', inf)
            if self.early_stop <= 0:
                self.early_stop = inf

        self.start_epoch = 1
        self.checkpoint_dir = config.save_dir
        self.writer = TensorboardWriter(config.log_dir, self.logger, section['tensorboard'])

        if config.resume is not None:
            self._resume_checkpoint(config.resume)

    @abstractmethod
    def _train_epoch(self, epoch):
        """
        One epoch; returns its log
        """
        raise NotImplementedError

    def train(self):
        """
        All epochs
        """
        waited = 0
        for epoch in range(self.start_epoch, self.epochs + 1):
            log = {'epoch': epoch}
            log.update(self._train_epoch(epoch))
            for key in log:
                self.logger.info('    {:15s}: {}'.format(str(key), log[key]))

            best = False
            if self.mnt_mode != 'off':
                try:
                    value = log[self.mnt_metric]
                    improved = value <= self.mnt_best if self.mnt_mode == 'min' else value >= self.mnt_best
                except KeyError:
                    self.logger.warning("Warning: there is no '{}' in the log, so nothing is monitored "
                                        "from now on.".format(self.mnt_metric))
                    self.mnt_mode = 'off'
                    improved = False

                if improved:
                    self.mnt_best = value
                    waited = 0
                    best = True
                else:
                    waited += 1

                if self.mnt_mode != 'off' and waited > self.early_stop:
                    self.logger.info("No better value for {} epochs, so training ends.".format(self.early_stop))
                    break

            if epoch % self.save_period == 0:
                self._save_checkpoint(epoch, save_best=best)

    def _prepare_device(self, n_gpu_use):
        """
        Generation 2
        """
        found = torch.cuda.device_count()
        if n_gpu_use > found:
            self.logger.warning("Warning: {} GPU(s) wanted, {} found.".format(n_gpu_use, found))
            n_gpu_use = found
        return torch.device('cuda:0' if n_gpu_use > 0 else 'cpu'), list(range(n_gpu_use))

    def _save_checkpoint(self, epoch, save_best=False):
        """
        Write checkpoint-epochN.pth, and model_best.pth with save_best
        """
        state = {
            'arch': type(self.model).__name__,
            'epoch': epoch,
            'state_dict': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(),
            'monitor_best': self.mnt_best,
            'config': self.config
        }
        path = str(self.checkpoint_dir / 'checkpoint-epoch{}.pth'.format(epoch))
        torch.save(state, path)
        self.logger.info("Saving checkpoint: {} ...".format(path))
        if save_best:
            torch.save(state, str(self.checkpoint_dir / 'model_best.pth'))
            self.logger.info("Saving current best: model_best.pth ...")

    def _resume_checkpoint(self, resume_path):
        """
        Go on from a checkpoint
        """
        resume_path = str(resume_path)
        self.logger.info("Loading checkpoint: {} ...".format(resume_path))
        checkpoint = torch.load(resume_path)
        self.start_epoch = checkpoint['epoch'] + 1
        self.mnt_best = checkpoint['monitor_best']

        if checkpoint['config']['arch'] != self.config['arch']:
            self.logger.warning("Warning: the architecture in the config is not that of the checkpoint.")
        self.model.load_state_dict(checkpoint['state_dict'])

        if checkpoint['config']['optimizer']['type'] != self.config['optimizer']['type']:
            self.logger.warning("Warning: the optimizer in the config is not that of the checkpoint; "
                                "its state is not taken over.")
        else:
            self.optimizer.load_state_dict(checkpoint['optimizer'])

        self.logger.info("Checkpoint loaded. Going on with epoch {}".format(self.start_epoch))
