import torch
from base import BaseTrainer
from utils import MetricTracker


class GANTrainer(BaseTrainer):
    """
    Two models, two optimizers
    """
    def __init__(self, generator, discriminator, criterion, metric_ftns, optimizer_g, optimizer_d, config, device,
                 data_loader, scheduler_d=None):
        super().__init__(generator, criterion, metric_ftns, optimizer_g, config)
        self.config = config
        self.device = device
        self.discriminator = discriminator
        self.optimizer_d = optimizer_d
        self.scheduler_d = scheduler_d
        self.data_loader = data_loader
        self.len_epoch = len(self.data_loader)
        self.n_critic = config['trainer'].get('n_critic', 1)
        self.z_dim = config['z_dim']
        # always the same noise for the pictures
        self.fixed_z = torch.randn(16, self.z_dim, device=device)

        self.train_metrics = MetricTracker('loss_g', 'loss_d', *[m.__name__ for m in self.metric_ftns],
                                           writer=self.writer)

    def _train_epoch(self, epoch):
        self.model.train()
        self.discriminator.train()
        self.train_metrics.reset()
        for batch_idx, (real,) in enumerate(self.data_loader):
            real = real.to(self.device)
            self.writer.set_step((epoch - 1) * self.len_epoch + batch_idx)

            # discriminator
            self.optimizer_d.zero_grad()
            z = torch.randn(real.shape[0], self.z_dim, device=self.device)
            fake = self.model(z)
            loss_d = self.criterion(self.discriminator(real), True) \
                + self.criterion(self.discriminator(fake.detach()), False)
            loss_d.backward()
            self.optimizer_d.step()
            self.train_metrics.update('loss_d', loss_d.item())

            # generator, every n_critic batches
            if batch_idx % self.n_critic == 0:
                self.optimizer.zero_grad()
                loss_g = self.criterion(self.discriminator(self.model(z)), True)
                loss_g.backward()
                self.optimizer.step()
                self.train_metrics.update('loss_g', loss_g.item())

            for met in self.metric_ftns:
                self.train_metrics.update(met.__name__, met(fake, real))

        if self.scheduler_d is not None:
            self.scheduler_d.step()

        self.model.eval()
        with torch.no_grad():
            samples = self.model(self.fixed_z)
        self.writer.add_histogram('samples', samples.cpu(), bins='auto')
        self.logger.debug('Epoch {}: {} samples, {:.3f}'.format(epoch, len(samples), samples.norm(dim=1).mean()))
        return self.train_metrics.result()
