import argparse
import json
import logging
from pathlib import Path
import torch
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from logger import setup_logging
from utils import read_json, util


# without ConfigParser, so that no folder is made
def main(resume, out):
    config = read_json(resume.parent / 'config.json')
    util.ensure_dir(out)
    setup_logging(out)
    logger = logging.getLogger('test')

    loader = getattr(module_data, config['data_loader']['type'])(
        **{**config['data_loader']['args'], 'shuffle': False, 'validation_split': 0.0, 'training': False})
    model = getattr(module_arch, config['arch']['type'])(
        module_data.N_WORDS, module_data.N_TOPICS, **config['arch']['args'])
    checkpoint = torch.load(resume, map_location='cpu')
    model.load_state_dict(checkpoint['state_dict'])
    model.eval()

    loss_fn = getattr(module_loss, config['loss'])
    metric_fns = [getattr(module_metric, met) for met in config['metrics']]
    tracker = util.MetricTracker('loss', *config['metrics'])
    with torch.no_grad():
        for words, topics in loader:
            output = model(words)
            tracker.update('loss', loss_fn(output, topics).item(), len(words))
            for met in metric_fns:
                tracker.update(met.__name__, met(output, topics), len(words))
    util.write_json(tracker.result(), out / 'test.json')
    logger.info(json.loads((out / 'test.json').read_text()))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Topics')
    parser.add_argument('-r', '--resume', required=True, type=Path)
    parser.add_argument('-o', '--out', default='results', type=Path)
    args = parser.parse_args()
    main(args.resume, args.out)
