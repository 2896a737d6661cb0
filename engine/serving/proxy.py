"""Who asks through a proxy: the address that the nearest trusted proxy saw, however oddly the rest is written.

``X-Forwarded-For`` grows from left to right, one address a proxy, and whoever asks may have written its beginning. So
it is read from the right, and no further than the first hop that is no proxy of ours or no address at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_HOPS = 20
"""Read from the right; a longer chain of our own proxies does not exist."""


class BehindProxy:
    """The layer that puts the address and the scheme which a trusted proxy tells in the place of the proxy's own.

    Parameters
    ----------
    app
        What answers.
    proxies
        Addresses or networks of the proxies; headers from others are not believed.
    """

    def __init__(self, app: Any, proxies: Sequence[str]) -> None:
        self.app = app
        self._networks = [ipaddress.ip_network(proxy) for proxy in proxies]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope.get("client"):
            host, port = scope["client"]
            peer = address_of(host)
            if peer is not None and self._trusts(peer):
                caller = self._caller(peer, _values(scope["headers"], b"x-forwarded-for"))
                scheme = ([scope["scheme"], *_values(scope["headers"], b"x-forwarded-proto")])[-1].lower()
                scope = {
                    **scope,
                    "client": (host, port) if caller == peer else (str(caller), 0),
                    "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
                }
        await self.app(scope, receive, send)

    def _caller(self, peer: Address, hops: list[str]) -> Address:
        nearest = peer
        for hop in reversed(hops[-MOST_HOPS:]):
            found = address_of(hop)
            if found is None:
                break
            nearest = found
            if not self._trusts(found):
                break
        return nearest

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def address_of(hop: str) -> Address | None:
    """Return the address in a hop, with a port or in brackets or not; ``None`` where it is none.

    An IPv4 address that is written as one of IPv6 is the IPv4 address.

    Examples
    --------
    >>> address_of("203.0.113.7:4711"), address_of("[2001:db8::1]:443"), address_of("::ffff:203.0.113.7")
    (IPv4Address('203.0.113.7'), IPv6Address('2001:db8::1'), IPv4Address('203.0.113.7'))
    >>> address_of("unknown") is None
    True
    """
    text = hop.strip().strip('"')
    if text.startswith("["):
        inside, closed, rest = text[1:].partition("]")
        text = inside if closed and _is_port(rest) else ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        text = host if _is_port(f":{port}") else ""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        # A zone names a network card of the machine that wrote it.
        return None if found.scope_id else found.ipv4_mapped or found
    return found


def _is_port(rest: str) -> bool:
    return not rest or (rest[0] == ":" and rest[1:].isascii() and rest[1:].isdigit())


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """Return the values of a header that may come several times, each a list with commas."""
    lines = [value.decode("latin-1") for header, value in headers if header == name]
    return [part.strip() for part in ",".join(lines).split(",")] if lines else []
