import argparse
import torch
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from utils import prepare_device


def main(config):
    logger = config.get_logger('test')
    loader = module_data.PlainWindowLoader(config['data_loader']['args']['data_dir'], batch_size=512,
                                           window=config['data_loader']['args']['window'], training=False)
    model = config.init_obj('arch', module_arch)
    loss_fn = getattr(module_loss, config['loss'])
    metric_fns = [getattr(module_metric, met) for met in config['metrics']]

    checkpoint = torch.load(config.resume)
    model.load_state_dict(checkpoint['state_dict'])
    device, _ = prepare_device(config['n_gpu'])
    model = model.to(device).eval()

    total_loss, total_metrics = 0.0, [0.0] * len(metric_fns)
    with torch.no_grad():
        for x, y in loader:
            out = model(x.to(device))
            total_loss += loss_fn(out, y.to(device)).item() * x.shape[0]
            for i, metric in enumerate(metric_fns):
                total_metrics[i] += metric(out, y) * x.shape[0]
    n_samples = len(loader.sampler)
    log = {'loss': total_loss / n_samples, 'epoch': checkpoint['epoch'], 'best': checkpoint['monitor_best']}
    log.update({met.__name__: total_metrics[i] / n_samples for i, met in enumerate(metric_fns)})
    logger.info(log)


if __name__ == '__main__':
    args = argparse.ArgumentParser(description='Time series')
    args.add_argument('-c', '--config', default=None, type=str)
    args.add_argument('-r', '--resume', default=None, type=str)
    args.add_argument('-d', '--device', default=None, type=str)
    main(ConfigParser.from_args(args))
