"""A trained model as a service with a page: python serve.py saved/models/<name>/<run>, or a bundle"""

import argparse
import dataclasses
import math
import sys

from espalier.processes.command import errors_without_traceback
from espalier.serving.extra import check_extra
from espalier.serving.limits import Limits
from predict import load_model

LIMITS = Limits()


def main(args):
    check_extra()

    # slow to import, as torch is
    from espalier.serving.app import build_app
    from espalier.serving.server import address_of, is_loopback, listen, open_socket, serve

    opened = open_socket(args.host, args.port)  # before the model, which takes longer
    model = load_model(args.model, args.device)
    chosen = {each.name: getattr(args, each.name) for each in dataclasses.fields(Limits)}
    limits = Limits(**{**chosen, "batch_size": args.batch_size or model.batch_size})
    app = build_app(model, limits)
    listen(opened)
    if not is_loopback(args.host):
        print("Warning: whoever reaches this machine may use the model: there is no login.", file=sys.stderr)
    print(f"Serving {app.title} at {address_of(opened)}", flush=True)
    serve(app, opened, limits.timeout_s)


def positive(text):
    """A number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def count(text):
    """A whole number from 1 on."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def not_negative(text):
    """A number from 0 on."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise ValueError
    return number


def port(text):
    """The number of a port; 0 for any that is free."""
    number = int(text)
    if not 0 <= number < 65536:
        raise ValueError
    return number


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A trained model as a service with a page, on this machine alone.")
    parser.add_argument("model", metavar="RUN|BUNDLE", help="a run folder, a checkpoint, or a bundle")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at; 0.0.0.0 for every machine")
    parser.add_argument("--port", type=port, default=8000, help="8000; 0 for any that is free")
    parser.add_argument("-d", "--device", help="where it computes, as in cpu or cuda:0")
    parser.add_argument("--batch-size", type=count, metavar="N", help="inputs computed together; as in evaluation")
    parser.add_argument("--most-wait-ms", type=not_negative, metavar="MS", default=LIMITS.most_wait_ms,
                        help="how long a batch waits for more inputs: %(default)g")  # fmt: skip
    parser.add_argument("--most-bytes", type=count, metavar="N", default=LIMITS.most_bytes,
                        help="of one request: %(default)s")  # fmt: skip
    parser.add_argument("--most-inputs", type=count, metavar="N", default=LIMITS.most_inputs,
                        help="of one request: %(default)s")  # fmt: skip
    parser.add_argument("--most-pixels", type=count, metavar="N", default=LIMITS.most_pixels,
                        help="of the images of one request together: %(default)s")  # fmt: skip
    parser.add_argument("--timeout-s", type=positive, metavar="S", default=LIMITS.timeout_s,
                        help="that one request may take: %(default)g")  # fmt: skip
    parser.add_argument("--queue", type=count, metavar="N", default=LIMITS.queue,
                        help="requests at once, before one more is refused: %(default)s")  # fmt: skip
    with errors_without_traceback():
        main(parser.parse_args())
