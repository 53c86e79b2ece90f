import argparse
import torch
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from utils import read_json


def main(config):
    logger = config.get_logger('test')

    args = dict(config['data_loader']['args'])
    args.update(shuffle=False, validation_split=0.0, training=False, batch_size=64)
    data_loader = getattr(module_data, config['data_loader']['type'])(**args)

    vocab = read_json(config.resume.parent / 'vocab.json')
    model = config.init_obj('arch', module_arch, vocab['size'], num_classes=3)

    loss_fn = getattr(module_loss, config['loss'])
    metric_fns = [getattr(module_metric, met) for met in config['metrics']]

    logger.info('Loading checkpoint: {} ...'.format(config.resume))
    checkpoint = torch.load(config.resume)
    model.load_state_dict(checkpoint['state_dict'])
    logger.info('{} of epoch {}, best {}'.format(
        checkpoint['config']['arch']['type'], checkpoint['epoch'], checkpoint['monitor_best']))

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = model.to(device)
    model.eval()

    total_loss = 0.0
    total_metrics = torch.zeros(len(metric_fns))
    with torch.no_grad():
        for padded, lengths, target in data_loader:
            output = model(padded.to(device), lengths)
            loss = loss_fn(output, target.to(device))
            total_loss += loss.item() * len(target)
            for i, metric in enumerate(metric_fns):
                total_metrics[i] += metric(output, target) * len(target)

    n_samples = len(data_loader.sampler)
    log = {'loss': total_loss / n_samples}
    log.update({met.__name__: total_metrics[i].item() / n_samples for i, met in enumerate(metric_fns)})
    logger.info(log)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Sequences')
    parser.add_argument('-r', '--resume', default=None, type=str, help='path to latest checkpoint (default: None)')
    parser.add_argument('-c', '--config', default=None, type=str, help='config file path (default: None)')
    parser.add_argument('-d', '--device', default=None, type=str, help='indices of GPUs to enable (default: all)')
    main(ConfigParser.from_args(parser))
