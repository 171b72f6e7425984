"""Whether a request comes from the server's own page, not from another web site in the browser.

A browser lets any site send requests to a server on loopback. Two headers that a site cannot forge
tell them apart: Host (DNS rebinding: the site's own name leads to this machine) and Origin (the
page that sends a POST).
"""

import ipaddress
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on the name or address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_allowed_host(header: str, served: str, public_name: str | None = None) -> bool:
    """Whether the Host header names this server.

    Args:
      header: the header's value, such as "localhost:8000".
      served: the name or address that the server listens on; if it is not loopback, any address is
        allowed, because rebinding needs a name.
      public_name: the name, and the port if it has one, under which a proxy is known.
    """
    host = host_in(header)
    if host is None:
        return False
    names = (*LOOPBACK, served.lower(), public_name and host_in(public_name))
    return host in names or (not is_loopback(served) and _is_address(host))


def is_own_origin(origin: str | None, *names: str) -> bool:
    """Whether the server's own page, or no browser, sent a request, by the header Origin.

    names: those of the server, each with its port: the Host header, and the public name.
    """
    own = {f"{scheme}://{name.lower()}" for scheme in ("http", "https") for name in names}
    return origin is None or origin.lower() in own


def host_in(header: str) -> str | None:
    """The name or address, without the port; None if the header has another form."""
    try:
        parts = urlsplit(f"//{header}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    shown = f"[{host}]" if ":" in (host or "") else host
    return host if header.lower() in (shown, f"{shown}:{port}") else None


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False
