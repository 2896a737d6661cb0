from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from engine.serving.opening import Opening
from engine.serving.proxy import BehindProxy, address_of
from engine.serving.server import Worker, server_of
from engine.serving.settings import ServeSettings
from tests.serving.api_example import RECORDS
from tests.serving.pages_example import make_world

PROXIES = ("127.0.0.1", "10.0.0.0/8", "::1")


def seen(*forwarded: str, peer: str = "127.0.0.1", proto: str | None = None) -> tuple[str, str]:
    """Return the address and the scheme that the application sees."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    headers += [] if proto is None else [(b"x-forwarded-proto", proto.encode())]
    scope = {"type": "http", "client": (peer, 5_000), "scheme": "http", "headers": headers}
    asyncio.run(BehindProxy(app, PROXIES)(scope, None, None))
    assert scope["client"] == (peer, 5_000)  # the caller's own is left alone
    return scopes[0]["client"][0], scopes[0]["scheme"]


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ((), "127.0.0.1"),
        (("203.0.113.7",), "203.0.113.7"),
        (("203.0.113.7:4711",), "203.0.113.7"),
        (("[2001:db8::1]:4711",), "2001:db8::1"),
        (("[2001:db8::1]",), "2001:db8::1"),
        (("2001:DB8:0:0::1",), "2001:db8::1"),
        (("::ffff:203.0.113.7",), "203.0.113.7"),
        ((' "[2001:db8::1]" ',), "2001:db8::1"),
        # Whoever asks may have written all but the last.
        (("198.51.100.1, 203.0.113.7",), "203.0.113.7"),
        (("127.0.0.1, 203.0.113.7",), "203.0.113.7"),
        (("198.51.100.1", "203.0.113.7"), "203.0.113.7"),
        # Our own proxies in a row: the one before them.
        (("198.51.100.1, 203.0.113.7, 10.1.2.3, 10.9.9.9:80",), "203.0.113.7"),
        (("10.1.2.3",), "10.1.2.3"),
        # No address: the nearest that is one.
        (("unknown",), "127.0.0.1"),
        (("203.0.113.7, unknown",), "127.0.0.1"),
        (("203.0.113.7, _hidden, 10.1.2.3",), "10.1.2.3"),
        (("",), "127.0.0.1"),
        ((",,,",), "127.0.0.1"),
        (("203.0.113.7:port",), "127.0.0.1"),
        (("[2001:db8::1",), "127.0.0.1"),
        (("fe80::1%eth0",), "127.0.0.1"),
        (("\xff<script>",), "127.0.0.1"),
        (("1.2.3.4.5",), "127.0.0.1"),
        (("127.1",), "127.0.0.1"),
        (("9" * 5_000,), "127.0.0.1"),
    ],
)
def test_the_last_hop_that_is_an_address_counts(lines: tuple[str, ...], address: str) -> None:
    assert seen(*lines)[0] == address


@pytest.mark.parametrize("peer", ["192.0.2.1", "::2", "testclient"])
def test_others_are_not_believed(peer: str) -> None:
    assert seen("203.0.113.7", peer=peer, proto="https") == (peer, "http")


def test_a_proxy_that_comes_by_ipv6_for_ipv4_is_known() -> None:
    assert seen("203.0.113.7", peer="::ffff:10.0.0.1")[0] == "203.0.113.7"


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("gopher", "http"), ("", "http"), ("http, https", "https")],
)
def test_the_scheme_is_what_the_proxy_says(proto: str, scheme: str) -> None:
    assert seen(proto=proto)[1] == scheme


def test_an_address_is_read_or_is_none() -> None:
    for text in ("203.0.113.7", "2001:db8::1"):
        assert address_of(text) == ipaddress.ip_address(text)
    assert address_of("[203.0.113.7]:1") == ipaddress.ip_address("203.0.113.7")


@pytest.mark.parametrize("behind", [True, False])
def test_a_server_reads_it_only_behind_a_proxy(tmp_path: Any, behind: bool) -> None:
    make_world(tmp_path, people=False)
    opening = Opening(bundle=tmp_path / "bundle")
    worker = Worker(ServeSettings(behind_proxy=behind), opening, tuple(RECORDS), b"k" * 32)
    config = server_of(worker, opening()).config
    config.load()
    assert isinstance(config.app, BehindProxy) == behind
    assert not config.proxy_headers
