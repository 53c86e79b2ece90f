# embeddings first: which topic does a word speak of? No trainer, no resume.
import argparse
import torch
import torch.nn as nn
import data_loader.data_loaders as module_data
from base import BaseModel
from logger import TensorboardWriter
from parse_config import ConfigParser

torch.manual_seed(3)


class Words(BaseModel):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Embedding(module_data.N_WORDS, dim)
        self.fc = nn.Linear(dim, module_data.N_TOPICS)

    def forward(self, words):
        return self.fc(self.embed(words))


def main(config):
    logger = config.get_logger('pretrain', verbosity=1)
    writer = TensorboardWriter(config.log_dir, logger, config['trainer']['tensorboard'])
    model = Words(config['arch']['args']['dim'])
    logger.info(model)
    optimizer = config.init_obj('optimizer', torch.optim, model.parameters())
    words = torch.arange(module_data.N_WORDS)
    for step in range(20):
        writer.set_step(step, 'pretrain')
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(words), words % module_data.N_TOPICS)
        loss.backward()
        optimizer.step()
        writer.add_scalar('loss', loss.item())
        writer.add_scalars('parts', {'loss': loss.item(), 'norm': model.embed.weight.norm().item()})
    writer.add_histogram('norms', model.embed.weight.detach().norm(dim=1), bins='auto')
    path = config.save_dir / 'embedding.pth'
    torch.save({'arch': type(model).__name__, 'config': config, 'state_dict': model.state_dict()}, path)
    state = torch.load(str(path))
    logger.info({'loss': loss.item(), 'dim': state['config']['arch']['args']['dim']})


if __name__ == '__main__':
    args = argparse.ArgumentParser(description='Words')
    args.add_argument('-c', '--config', default='config.json', type=str)
    args.add_argument('-r', '--resume', default=None, type=str)
    args.add_argument('-d', '--device', default=None, type=str)
    main(ConfigParser.from_args(args))
