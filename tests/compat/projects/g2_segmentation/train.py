import argparse
import torch
import numpy as np
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from trainer import SegTrainer
from utils.visual import colour_map


def main(config):
    logger = config.get_logger('train')

    train_loader = config.init_obj('data_loader', module_data)
    # scenes that are held back from training; for the choice of the threshold, not for validation
    calib_loader = train_loader.split_validation()
    valid_loader = config.init_obj('valid_data_loader', module_data)
    logger.info('%d for training, %d for calibration, %d for validation', train_loader.n_samples,
                len(calib_loader.sampler), valid_loader.n_samples)

    model = config.init_obj('arch', module_arch, num_classes=config['num_classes'])
    logger.info(model)

    criterion = config.init_obj('loss', module_loss)
    metrics = [getattr(module_metric, met)(config['num_classes']) for met in config['metrics']]

    optimizer = config.init_obj('optimizer', torch.optim, [{'params': model.down.parameters()},
                                                           {'params': model.up.parameters(), 'lr': 0.02}])
    lr_scheduler = config.init_obj('lr_scheduler', torch.optim.lr_scheduler, optimizer)

    trainer = SegTrainer(model, criterion, metrics, optimizer, config, train_loader, valid_loader, lr_scheduler,
                         calib_loader=calib_loader, colours=colour_map(config['palette']))
    trainer.train()


if __name__ == '__main__':
    args = argparse.ArgumentParser(description='Segmentation')
    args.add_argument('-c', '--config', default=None, type=str, help='config file path (default: None)')
    args.add_argument('-r', '--resume', default=None, type=str, help='path to latest checkpoint (default: None)')
    args.add_argument('-d', '--device', default=None, type=str, help='indices of GPUs to enable (default: all)')
    args.add_argument('-s', '--seed', default=5, type=int)
    args = args.parse_args()
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    config = ConfigParser.from_args(args)
    main(config)
