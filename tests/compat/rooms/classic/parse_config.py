import argparse
import logging
import os
from datetime import datetime
from functools import partial, reduce
from operator import getitem
from pathlib import Path

from logger import setup_logging
from utils import read_json, write_json


class ConfigParser:
    def __init__(self, config, resume=None, modification=None, run_id=None):
        """
        Hold a config, make the folders of the run and start logging
        """
        self._config = _update_config(config, modification)
        self.resume = resume

        save_dir = Path(self.config['trainer']['save_dir'])
        name = self.config['name']
        if run_id is None:
            # upstream has no microseconds, and two runs cannot begin within one second
            run_id = datetime.now().strftime(r'%m%d_%H%M%S_%f')
        self._save_dir = save_dir / 'models' / name / run_id
        self._log_dir = save_dir / 'log' / name / run_id

        for folder in (self.save_dir, self.log_dir):
            folder.mkdir(parents=True, exist_ok=run_id == '')
        write_json(self.config, self.save_dir / 'config.json')

        setup_logging(self.log_dir)
        self.log_levels = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}

    @classmethod
    def from_args(cls, args, options=''):
        """
        From the command line
        """
        for opt in options:
            args.add_argument(*opt.flags, default=None, type=opt.type)
        if isinstance(args, argparse.ArgumentParser):  # upstream takes a parser or a named tuple
            args = args.parse_args()

        if args.device is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = args.device
        if args.resume is not None:
            resume = Path(args.resume)
            file = resume.parent / 'config.json'
        else:
            assert args.config is not None, "-c is missing: name a config file, as in -c config.json"
            resume = None
            file = Path(args.config)

        config = read_json(file)
        if args.config and resume:
            config.update(read_json(args.config))

        return cls(config, resume, {opt.target: getattr(args, _name_of(opt.flags)) for opt in options})

    def init_obj(self, name, module, *args, **kwargs):
        """
        getattr(module, type)(*args, **kwargs and those of the section)
        """
        section = self[name]
        section_args = dict(section['args'])
        assert not set(kwargs) & set(section_args), 'arguments of the config file cannot be given again'
        section_args.update(kwargs)
        return getattr(module, section['type'])(*args, **section_args)

    def init_ftn(self, name, module, *args, **kwargs):
        """
        The same, with the arguments bound but not called
        """
        section = self[name]
        section_args = dict(section['args'])
        assert not set(kwargs) & set(section_args), 'arguments of the config file cannot be given again'
        section_args.update(kwargs)
        return partial(getattr(module, section['type']), *args, **section_args)

    def __getitem__(self, name):
        return self.config[name]

    def get_logger(self, name, verbosity=2):
        assert verbosity in self.log_levels, 'verbosity {} is none of {}'.format(verbosity, list(self.log_levels))
        logger = logging.getLogger(name)
        logger.setLevel(self.log_levels[verbosity])
        return logger

    @property
    def config(self):
        return self._config

    @property
    def save_dir(self):
        return self._save_dir

    @property
    def log_dir(self):
        return self._log_dir


def _update_config(config, modification):
    for target, value in (modification or {}).items():
        if value is not None:
            *parents, last = target.split(';')
            reduce(getitem, parents, config)[last] = value
    return config


def _name_of(flags):
    for flag in flags:
        if flag.startswith('--'):
            return flag.replace('--', '')
    return flags[0].replace('--', '')
