import collections
import sys
import torch
import data_loader.data_loaders as module_data
import model.loss as module_loss
import model.metric as module_metric
import model.model as module_arch
from parse_config import ConfigParser
from utils.visual import colour_map, paint

# as in the notebook
Args = collections.namedtuple('Args', 'config resume device')


def main(config):
    logger = config.get_logger('test', 1)
    loader = config.init_obj('test_data_loader', module_data)
    model = config.init_obj('arch', module_arch, num_classes=config['num_classes'])
    criterion = config.init_obj('loss', module_loss)
    metrics = [getattr(module_metric, met)(config['num_classes']) for met in config['metrics']]

    checkpoint = torch.load(config.resume, map_location=torch.device('cpu'))
    model.load_state_dict(checkpoint['state_dict'])
    model.eval()

    total_loss, totals = 0.0, [0.0] * len(metrics)
    with torch.no_grad():
        for image, mask in loader:
            output = model(image)
            total_loss += criterion(output, mask).item() * len(image)
            for i, met in enumerate(metrics):
                totals[i] += float(met(output, mask)) * len(image)
    n = loader.n_samples
    picture = paint(output[0].argmax(0), colour_map(config['palette']))
    torch.save(picture, config.save_dir / 'first.pt')
    logger.info({'loss': total_loss / n, **{met.__name__: total / n for met, total in zip(metrics, totals)}})


if __name__ == '__main__':
    assert sys.argv[1] == '-r'
    main(ConfigParser.from_args(Args(config=None, resume=sys.argv[2], device=None)))
