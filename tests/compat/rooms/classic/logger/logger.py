import logging
import logging.config
from pathlib import Path

from utils import read_json


def setup_logging(save_dir, log_config='logger/logger_config.json', default_level=logging.INFO):
    """
    Configure logging from a file; its log files go to save_dir
    """
    log_config = Path(log_config)
    if not log_config.is_file():
        print("Warning: there is no logging configuration in {}.".format(log_config))
        logging.basicConfig(level=default_level)
        return
    config = read_json(log_config)
    for handler in config['handlers'].values():
        if 'filename' in handler:
            handler['filename'] = str(save_dir / handler['filename'])
    logging.config.dictConfig(config)
