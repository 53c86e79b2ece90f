import argparse
import torch
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser


def main(config, n):
    logger = config.get_logger('test')

    generator = config.init_obj('generator', module_arch, config['z_dim'])
    checkpoint = torch.load(config.resume, map_location='cpu')
    generator.load_state_dict(checkpoint['state_dict'])
    generator.eval()

    torch.manual_seed(1)
    with torch.no_grad():
        fake = generator(torch.randn(n, config['z_dim']))
    log = {met: getattr(module_metric, met)(fake, None) for met in config['metrics']}
    logger.info(log)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='GAN on a ring')
    parser.add_argument('-c', '--config', default=None, type=str)
    parser.add_argument('-r', '--resume', default=None, type=str)
    parser.add_argument('-d', '--device', default=None, type=str)
    parser.add_argument('-n', '--num', default=64, type=int, help='how many samples')
    config = ConfigParser.from_args(parser)
    main(config, parser.parse_args().num)
