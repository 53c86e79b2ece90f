"""A bundle as a service, where its project is not: python -m espalier.serving BUNDLE"""

import argparse

from espalier.processes.command import errors_without_traceback
from espalier.serving.flags import add_flags, check_extra

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m espalier.serving", description="A bundle as a service.")
    add_flags(parser)
    with errors_without_traceback():
        args = parser.parse_args()
        check_extra()
        from espalier.inference.bundle import load_bundle
        from espalier.serving.command import run  # needs the extra

        run(args, load_bundle)
