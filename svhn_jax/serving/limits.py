"""What one request may cost, and the refusal of one that costs more. Imports no JAX."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes:
      bytes: of one photo's file.
      pixels: of one photo; phones make up to 50 million.
      upload_s: seconds in which a photo, or another request, must have arrived, and its answer been taken.
      decode_s: seconds in which a photo must be decoded.
      wait_s: seconds that a photo may wait for the photos before it.
      requests: photos that are received, waiting or read at once.
      waiting_bytes: of these photos' files together, as far as they have arrived.
      connections: open at once.
    """

    bytes: int = 2**25
    pixels: int = 52_000_000
    upload_s: float = 60.0
    decode_s: float = 10.0
    wait_s: float = 60.0
    requests: int = 32
    waiting_bytes: int = 2**28
    connections: int = 256


class Refusal(Exception):
    """A request that is not answered with a reading.

    Attributes:
      status: of HTTP.
      retry_after_s: seconds after which the client may try again; None: never.
    """

    def __init__(self, status: int, message: str, retry_after_s: int | None = None):
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


def busy() -> Refusal:
    return Refusal(503, "too many photos at once; try again in a few seconds", retry_after_s=3)


def ending() -> Refusal:
    return Refusal(503, "the server is ending")
