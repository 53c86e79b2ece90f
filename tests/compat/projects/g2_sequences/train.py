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
from utils import write_json

# reproducible
SEED = 42
torch.manual_seed(SEED)
np.random.seed(SEED)


def main(config):
    logger = config.get_logger('train')

    # the loader tells how long its sequences are
    config['data_loader']['args']['logger'] = logger
    data_loader = config.init_obj('data_loader', module_data)
    valid_data_loader = data_loader.split_validation()

    # kept for test.py and for the notebook
    vocab = config['vocabulary']
    vocab['size'] = len(vocab['tokens']) + 2
    write_json(vocab, config.save_dir / 'vocab.json')
    vocab['table'] = np.array(list(vocab['tokens']))
    config.config['checkpoint_dir'] = config.save_dir
    if config['trainer'].get('search', False):
        # a hyperparameter search looks at each epoch
        config['trainer']['report'] = lambda log: print('REPORT', log['epoch'], float(log['val_loss']))

    model = config.init_obj('arch', module_arch, vocab['size'], num_classes=3)
    logger.info(model)

    criterion = getattr(module_loss, config['loss'])
    metrics = [getattr(module_metric, met) for met in config['metrics']]

    trainable_params = filter(lambda p: p.requires_grad, model.parameters())
    optimizer = config.init_obj('optimizer', torch.optim, trainable_params)
    lr_scheduler = config.init_obj('lr_scheduler', torch.optim.lr_scheduler, optimizer)

    trainer = Trainer(model, criterion, metrics, optimizer,
                      config=config,
                      data_loader=data_loader,
                      valid_data_loader=valid_data_loader,
                      lr_scheduler=lr_scheduler)
    trainer.train()
    logger.info('Logs are in {}'.format(config.log_dir))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Sequences')
    parser.add_argument('-c', '--config', default=None, type=str, help='config file path (default: None)')
    parser.add_argument('-r', '--resume', default=None, type=str, help='path to latest checkpoint (default: None)')
    parser.add_argument('-d', '--device', default=None, type=str, help='indices of GPUs to enable (default: all)')

    CustomArgs = collections.namedtuple('CustomArgs', 'flags type target')
    options = [
        CustomArgs(['-lr', '--learning_rate'], type=float, target='optimizer;args;lr'),
        CustomArgs(['--name'], type=str, target='name'),
        CustomArgs(['--epochs'], type=int, target='trainer;epochs')
    ]
    config = ConfigParser.from_args(parser, options)
    main(config)
