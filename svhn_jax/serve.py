"""python -m svhn_jax.serve: reads photos on a page in the browser.

Prints the address of a page on which a person drops, pastes or takes a photo, sees the number and
how sure the network is, and corrects the box. Photos stay in this machine's memory while they are
read, and are stored nowhere. Ctrl-C ends it.
"""

import contextlib
import importlib.util
import socket
from dataclasses import dataclass
from typing import Annotated

from PIL import Image

from svhn_jax import cli
from svhn_jax.checked import Checked, Rule, within
from svhn_jax.errors import InputError
from svhn_jax.output import Terminal
from svhn_jax.serving import origin

WARM_UP = ((1024, 768), (768, 1024))  # pixels of photos read first: no user waits for compilation


@dataclass(frozen=True)
class Options(Checked):
    """Reads photos on a page in the browser."""

    run: str | None = None
    """the folder of a trained run; by default the weights that come with the package"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    host: str = "127.0.0.1"
    """name or address to listen on; others than loopback let other machines send photos"""
    port: Annotated[int, within(0, 65535)] = 8000
    """port to listen on; 0: any free one"""
    public_name: Annotated[
        str | None, Rule(origin.host_in, "a name such as photos.example.com, or name:port")
    ] = None
    """name under which a proxy in front of this server is known; with the port if it is not 443"""
    min_confidence: Annotated[float, within(0, 1)] = 0.9
    """a number or digit less probable than this is marked: a person should check it"""


def main(options: Options, terminal: Terminal) -> None:
    if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
        raise InputError("the page needs more packages: pip install 'svhn_jax[serve]'")
    import uvicorn  # these imports take seconds: not for --help

    from svhn_jax import load
    from svhn_jax.serving.app import UVICORN, App

    with _listening(options.host, options.port) as listening:
        reader = load(options.run, options.step)
        for size in WARM_UP:
            reader.read_many([Image.new("RGB", size)] * 2, [None, "whole"])
        if not origin.is_loopback(options.host):
            warning = "any machine that reaches this one can send photos, without encryption"
            terminal.error(f"warning: --host {options.host}: {warning}")
        app = App(reader.read, options.host, options.public_name, options.min_confidence)
        name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
        name = f"[{name}]" if ":" in name else name
        address = f"http://{name}:{listening.getsockname()[1]}"
        terminal.print(f"{address} reads photos; Ctrl-C ends it")
        terminal.result({"address": address})
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(app):
            uvicorn.Server(uvicorn.Config(app, **UVICORN)).run([listening])
    terminal.print(f"ended after {app.photos_read:,} photos")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise InputError(f"--host {host} --port {port}: {error.strerror or error}") from None


if __name__ == "__main__":
    cli.run(Options, main)
