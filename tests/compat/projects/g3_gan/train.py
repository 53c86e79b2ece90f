import argparse
import collections
import torch
import numpy as np
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from trainer import GANTrainer
from utils import prepare_device

torch.manual_seed(0)
np.random.seed(0)


def main(config, args):
    logger = config.get_logger('train', config['trainer']['verbosity'])
    logger.info('tag: {}'.format(args.tag))

    data_loader = config.init_obj('data_loader', module_data)

    generator = config.init_obj('generator', module_arch, config['z_dim'])
    discriminator = config.init_obj('discriminator', module_arch)
    if args.debug:
        logger.info(generator)
        logger.info(discriminator)

    device, device_ids = prepare_device(config['n_gpu'])
    generator = generator.to(device)
    discriminator = discriminator.to(device)

    criterion = getattr(module_loss, config['loss'])
    metrics = [getattr(module_metric, met) for met in config['metrics']]

    optimizer_g = config.init_obj('optimizer_g', torch.optim, generator.parameters())
    optimizer_d = config.init_obj('optimizer_d', torch.optim, discriminator.parameters())
    scheduler_d = config.init_obj('scheduler_d', torch.optim.lr_scheduler, optimizer_d)

    trainer = GANTrainer(generator, discriminator, criterion, metrics, optimizer_g, optimizer_d,
                         config=config,
                         device=device,
                         data_loader=data_loader,
                         scheduler_d=scheduler_d)
    trainer.train()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='GAN on a ring')
    parser.add_argument('tag', nargs='?', default='untagged', help='a word for the log')
    parser.add_argument('-c', '--config', default=None, type=str)
    parser.add_argument('-r', '--resume', default=None, type=str)
    parser.add_argument('-d', '--device', default=None, type=str)
    parser.add_argument('--debug', action='store_true', help='print the models')

    CustomArgs = collections.namedtuple('CustomArgs', 'flags type target')
    options = [
        CustomArgs(['--lrg'], type=float, target='optimizer_g;args;lr'),
        CustomArgs(['--lrd'], type=float, target='optimizer_d;args;lr'),
        CustomArgs(['--z'], type=int, target='z_dim'),
    ]
    config = ConfigParser.from_args(parser, options)
    args = parser.parse_args()
    main(config, args)
