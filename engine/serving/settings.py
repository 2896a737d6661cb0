"""How a server is to run, checked before anything starts."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import SettingError, SourceNotFoundError
from engine.schema import check_language

if TYPE_CHECKING:
    from engine.segments.division import Division

LOGS = ("plain", "json", "none")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """All that is not the model.

    Attributes
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    workers
        Processes that answer.
    tokens
        File of tokens; without it one token is drawn and printed at the start.
    tls_certificate, tls_key
        PEM files; both, or neither.
    behind_proxy
        Whether a proxy in front of it speaks TLS and is reached by others only through it.
    proxies
        Addresses or networks of that proxy: from them ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    hosts
        Names by which it is reached, beside the address that it listens on.
    rate
        Requests a second of one token in one worker, twice as many at once; ``None`` is no limit.
    max_body_mib, max_rows
        Of one batch.
    metrics_public
        Whether ``/metrics`` needs no token; only where nobody but this machine reaches the server.
    language
        Of what is printed, and of the answers to whoever asks for none: ``en`` or ``es``.
    log
        Of the requests: ``plain`` or ``json`` lines, or ``none``.
    runs, read_run
        Runs that the pages can compare, and how one is read.

    Raises
    ------
    SettingError
        A setting is impossible, or would lay the server open.

    Examples
    --------
    >>> ServeSettings(host="0.0.0.0")
    Traceback (most recent call last):
    ...
    engine.errors.SettingError: serve.host=0.0.0.0: beyond this machine a token printed at the start is not enough. \
Make a file with cartera serve action=token serve.tokens=FILE token.name=NAME token.role=ROLE.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    tokens: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    hosts: tuple[str, ...] = ()
    rate: float | None = None
    max_body_mib: float = 64.0
    max_rows: int = 1_000_000
    metrics_public: bool = False
    language: str = "en"
    log: str = "plain"
    runs: tuple[Path, ...] = ()
    read_run: Callable[[Path, str], Division] | None = None

    def __post_init__(self) -> None:
        check_language(self.language)
        if self.log not in LOGS:
            raise SettingError.from_unknown("serve.log", self.log, LOGS)
        _between("serve.port", self.port, 0, 65_535)
        _between("serve.workers", self.workers, 1, 256)
        _between("serve.max_rows", self.max_rows, 1, 100_000_000)
        _between("serve.max_body_mib", self.max_body_mib, 0.001, 4_096)
        if self.rate is not None:
            _between("serve.rate", self.rate, 0.01, 1e9)
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise SettingError(
                    f"serve.proxies: expected addresses or networks such as 10.0.0.0/8; got {proxy!r}."
                ) from None
        for name in self.hosts:
            if not name or any(sign in name for sign in "/:* "):
                raise SettingError(
                    f"serve.hosts: expected names such as segments.example.com, without a port; got {name!r}."
                )
        self._check_files()
        self._check_reach()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.tls_certificate is not None or self.behind_proxy

    @property
    def host_names(self) -> frozenset[str]:
        """What the header ``Host`` may say, without port."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset(
            {*(name.lower() for name in self.hosts), own.lower(), *(LOOPBACK_NAMES if self.loopback else ())}
        )

    def _check_files(self) -> None:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise SettingError("serve.tls_certificate and serve.tls_key: expected both, or neither.")
        for key in ("tls_certificate", "tls_key", "tokens"):
            path = getattr(self, key)
            if path is not None and not path.is_file():
                hint = " Make it with cartera serve action=token." if key == "tokens" else ""
                raise SourceNotFoundError(f"serve.{key}={path}: no such file.{hint}")

    def _check_reach(self) -> None:
        if self.metrics_public and (self.behind_proxy or not self.loopback):
            raise SettingError(
                "serve.metrics_public: only where nobody but this machine reaches the server. Give the collector a "
                "token of the role admin."
            )
        if self.loopback:
            return
        if self.tokens is None:
            raise SettingError(
                f"serve.host={self.host}: beyond this machine a token printed at the start is not enough. Make a file "
                "with cartera serve action=token serve.tokens=FILE token.name=NAME token.role=ROLE."
            )
        if not self.secure:
            raise SettingError(
                f"serve.host={self.host}: beyond this machine tokens must not travel in the clear. Give "
                "serve.tls_certificate and serve.tls_key, or serve.behind_proxy=true where a proxy in front speaks TLS."
            )
        if not self.hosts and self.host in ("0.0.0.0", "::"):
            raise SettingError(
                f"serve.host={self.host}: say by which names it is reached, serve.hosts=[segments.example.com]."
            )


def _between(key: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise SettingError(f"{key}: expected a number from {low:,} to {high:,}; got {value!r}.")
