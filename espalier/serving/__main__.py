"""A bundle as a service, where its project is not: python -m espalier.serving BUNDLE"""

import argparse

from espalier.inference.bundle import load_bundle
from espalier.processes.command import errors_without_traceback
from espalier.serving.request import add_flags
from espalier.serving.run import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m espalier.serving", description="A bundle as a service.")
    add_flags(parser)
    with errors_without_traceback():
        run(parser.parse_args(), load_bundle)
