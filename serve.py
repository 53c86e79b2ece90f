"""A trained model as a service with a page: python serve.py saved/models/<name>/<run>, or a bundle"""

import argparse  # PYTHON_ARGCOMPLETE_OK

from espalier.config.completion import completing
from espalier.processes.command import errors_without_traceback
from espalier.serving.flags import add_flags, check_extra
from predict import load_model


def main(args):
    check_extra()
    from espalier.serving.command import run  # slow to import, as torch is

    run(args, load_model)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    add_flags(parser)
    with errors_without_traceback():
        main(completing(parser).parse_args())
