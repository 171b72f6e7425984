"""python -m svhn_jax.serve: reads photos on a page in the browser.

Prints the address of a page on which a person drops, pastes or takes a photo, sees the number and how sure the network is,
and corrects the box. Photos stay in this machine's memory while they are read, and are stored nowhere. Ctrl-C ends it.
"""

from svhn_jax import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take time

import asyncio
import errno
import importlib.util
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from PIL import Image

from svhn_jax import command_line, output
from svhn_jax.checked import Checked, Rule, within
from svhn_jax.errors import InputError, print_to_stderr, run_command
from svhn_jax.options import OptionalStr, OutputOptions
from svhn_jax.output import Output
from svhn_jax.serving import origin

if TYPE_CHECKING:  # they import JAX or Tornado
    from svhn_jax.serving.worker import Worker

WARM_UP = (
    (1024, 768),
    (768, 1024),
)  # pixels of photos that are read first, so that no user waits for compilation


@dataclass(frozen=True)
class Options(Checked):
    """Reads photos on a page in the browser."""

    run: OptionalStr = None
    """the folder of a trained run; by default the weights that come with the package"""
    step: str = "best"
    """best (on validation while training), latest or a step's number"""
    host: str = "127.0.0.1"
    """name or address to listen on; others than loopback let other machines send photos"""
    port: Annotated[int, within(0, 65535)] = 8000
    """port to listen on; 0: any free one"""
    public_name: Annotated[
        OptionalStr, Rule(origin.host_in, "a name such as photos.example.com, or name:port")
    ] = None
    """name under which a proxy in front of this server is known; with the port if it is not 443"""
    min_confidence: Annotated[float, within(0, 1)] = 0.9
    """a number or digit less probable than this is marked: a person should check it"""
    output: OutputOptions = field(default_factory=Output)


def main() -> int:
    options = command_line.parse(Options, "python -m svhn_jax.serve", __doc__ or "")
    if not importlib.util.find_spec("tornado"):
        raise InputError("the page needs one more package: pip install 'svhn_jax[serve]'")
    console = output.console(options.output)
    sockets = _listen(options.host, options.port)
    from svhn_jax import load  # the imports take seconds: not for --help
    from svhn_jax.serving.limits import Limits
    from svhn_jax.serving.worker import Worker

    reader = load(options.run, options.step)
    with Worker(reader, Limits(), options.min_confidence) as worker:
        for size in WARM_UP:
            reader.read_many([Image.new("RGB", size)] * 2, [None, "whole"])
        if not origin.is_loopback(options.host):
            print_to_stderr(
                f"warning: --host {options.host}: any machine that reaches this one can send photos, without encryption"
            )
        address = _address(options.host, sockets)

        def announce() -> None:
            console.print(f"{address} reads photos; Ctrl-C ends it", soft_wrap=True)
            output.print_json(options.output, {"address": address})

        asyncio.run(_serve(worker, options, sockets, announce))
        console.print(f"ended after {worker.photos_read:,} photos")
    return 0


def _listen(host: str, port: int) -> list[socket.socket]:
    from tornado import netutil

    try:
        return netutil.bind_sockets(port, host)
    except socket.gaierror:
        raise InputError(f"--host {host}: no such name or address") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"--port {port} is in use; give another one, or 0 for any free one"
            ) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"--host {host}: not an address of this machine") from None
        raise InputError(
            f"--host {host} --port {port}: {(error.strerror or str(error)).lower()}"
        ) from None


def _address(host: str, sockets: list[socket.socket]) -> str:
    """The page's address, for a browser on this machine if the server listens on all addresses."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{sockets[0].getsockname()[1]}"


async def _serve(
    worker: "Worker", options: Options, sockets: list[socket.socket], announce: Callable[[], None]
) -> None:
    """Serves until Ctrl-C or SIGTERM; calls `announce` when it does."""
    from svhn_jax.serving import app

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    server = app.serve(worker, options.host, options.public_name)
    server.add_sockets(sockets)
    announce()
    await ended.wait()
    server.stop()


if __name__ == "__main__":
    run_command(main)
