"""Which Host and Origin headers are the server's own."""

import pytest

from svhn_jax.serving import origin


@pytest.mark.parametrize(
    ("header", "served", "is_allowed"),
    [
        ("localhost", "127.0.0.1", True),
        ("127.0.0.1:8000", "localhost", True),
        ("[::1]:8000", "::1", True),
        ("192.168.1.5:8000", "127.0.0.1", False),
        ("192.168.1.5:8000", "0.0.0.0", True),  # no name, so no rebinding
        ("evil.example", "0.0.0.0", False),
        ("box.local:8000", "box.local", True),
        ("evil.example", "box.local", False),
        ("", "127.0.0.1", False),
        ("localhost:x", "127.0.0.1", False),
        ("user@localhost", "127.0.0.1", False),
        ("localhost/evil.example", "127.0.0.1", False),
        ("[::1", "127.0.0.1", False),
        ("Photos.example.com", "127.0.0.1", True),
        ("example.com", "127.0.0.1", False),
    ],
)
def test_hosts(header, served, is_allowed):
    assert origin.is_allowed_host(header, served, "photos.example.com:8443") == is_allowed
    assert not origin.is_allowed_host("photos.example.com", served)


@pytest.mark.parametrize(
    ("sent", "is_own"),
    [
        (None, True),  # no browser
        ("http://localhost:8000", True),
        ("https://localhost:8000", True),  # behind a proxy
        ("http://localhost:8001", False),
        ("http://localhost:8000.evil.example", False),
        ("null", False),
    ],
)
def test_origins(sent, is_own):
    assert origin.is_own_origin(sent, "localhost:8000") == is_own
