"""From the flags of a server to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from espalier.device import device_of
from espalier.inference.model import Model
from espalier.serving.app import build_app
from espalier.serving.flags import limits_of
from espalier.serving.server import address_of, is_loopback, listen, open_socket, serve


def run(args: Any, load_model: Callable[[str, Any], Model]) -> None:
    """Load a model, and answer until a signal asks for an end.

    Args:
        args: of `espalier.serving.flags.add_flags`.
        load_model: of a path and a device.

    Raises:
        UserError: the port is taken, or the model cannot be loaded.
    """
    opened = open_socket(args.host, args.port)  # before the model, which takes longer
    device = None if args.device is None else device_of(args.device)
    model = load_model(args.model, device)
    limits = limits_of(args, model.batch_size)
    app = build_app(model, limits)
    listen(opened)
    if not is_loopback(args.host):
        print("Warning: whoever reaches this machine may use the model: there is no login.", file=sys.stderr)
    print(f"Serving {app.title} at {address_of(opened)}", flush=True)
    serve(app, opened, limits.timeout_s)
