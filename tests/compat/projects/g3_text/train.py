import argparse
import collections
import torch
import numpy as np
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from trainer import Trainer
from utils import prepare_device, ensure_dir

torch.manual_seed(3)
np.random.seed(3)


def main(config):
    logger = config.get_logger('train')
    ensure_dir(config.save_dir / 'figures')
    with open(config.save_dir / 'arch.txt', 'w') as f:
        f.write(str(config._config['arch']))

    data_loader = config.init_obj('data_loader', module_data)
    valid_data_loader = data_loader.split_validation()
    logger.info('{} texts, {} of them for validation'.format(
        len(data_loader.dataset), len(data_loader.valid_sampler)))

    model = config.init_obj('arch', module_arch, module_data.N_WORDS, module_data.N_TOPICS)
    logger.info(model)
    device, device_ids = prepare_device(config['n_gpu'])
    model = model.to(device)

    criterion = getattr(module_loss, config['loss'])
    metrics = [getattr(module_metric, met) for met in config['metrics']]
    optimizer = config.init_obj('optimizer', torch.optim, model.parameters())
    lr_scheduler = config.init_obj('lr_scheduler', torch.optim.lr_scheduler, optimizer)

    trainer = Trainer(model, criterion, metrics, optimizer, config=config, device=device, data_loader=data_loader,
                      valid_data_loader=valid_data_loader, lr_scheduler=lr_scheduler)
    trainer.train()


if __name__ == '__main__':
    args = argparse.ArgumentParser(description='Topics')
    args.add_argument('-c', '--config', default=None, type=str)
    args.add_argument('-r', '--resume', default=None, type=str)
    args.add_argument('-d', '--device', default=None, type=str)
    CustomArgs = collections.namedtuple('CustomArgs', 'flags type target')
    options = [
        CustomArgs(['--lr', '--learning_rate'], type=float, target='optimizer;args;lr'),
        CustomArgs(['--save_dir'], type=str, target='trainer;save_dir'),
    ]
    main(ConfigParser.from_args(args, options))
