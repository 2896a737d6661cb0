"""Who asks: a machine by a bearer token, a person by the session that a token opened.

A session is a signed cookie, so that every worker knows it: when it ends, which token opened it, and a random number.
It ends with its time, with the token, with a log-out, and when the server stops (the key is drawn at each start).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection

from engine.errors import CarteraError
from engine.serving.problems import Problem
from engine.serving.tokens import ROLES, TokenRecord, digest, read_tokens

log = logging.getLogger(__name__)

SESSION_COOKIE = "cartera_session"
SESSION_SECONDS = 8 * 3_600
"""A working day."""

REREAD_SECONDS = 1.0
"""How long a token may still pass after its line was removed from the file."""

LONGEST_COOKIES = 4 * 1024
"""Bytes of a header ``Cookie``; ours have some 150, and a longer header is passed over."""

_PRINCIPAL = "cartera.principal"
_UNSEEN = object()


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may ask.

    Attributes
    ----------
    name
        Of the token.
    role
        ``classify`` < ``customers`` < ``admin``: each may what those before it may.

    Examples
    --------
    >>> Principal("crm", "customers").may("classify"), Principal("till", "classify").may("customers")
    (True, False)
    """

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Return whether this role includes another."""
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True, slots=True)
class _Session:
    expires: int
    token: str  # the first half of the token's hash
    nonce: str


class Access:
    """The tokens that are valid, and the sessions that they opened.

    Parameters
    ----------
    tokens
        Records held in memory, such as the one of a token printed at the start.
    file
        A file of records, read again when it changes: removing a line revokes a token and its sessions.
    key
        Signs sessions and forms; the same for all workers. ``None`` draws one.
    secure
        Whether browsers reach the server by TLS, so that the cookie must never travel without it.

    Examples
    --------
    >>> from engine.serving.tokens import TokenRecord, digest
    >>> access = Access([TokenRecord("crm", "customers", digest("secret"), "2026-01-01")])
    >>> access.principal("secret"), access.principal("guess")
    (Principal(name='crm', role='customers'), None)
    """

    def __init__(
        self,
        tokens: Sequence[TokenRecord] = (),
        *,
        file: Path | None = None,
        key: bytes | None = None,
        secure: bool = False,
    ) -> None:
        self.secure = secure
        self._held = tuple(tokens)
        self._file = file
        self._key = key or secrets.token_bytes(32)
        self._ended: dict[str, int] = {}
        self._signature: tuple[int, int, int] | None = None
        self._read_at = -REREAD_SECONDS
        self._records: tuple[TokenRecord, ...] = self._held
        self._reread()

    def principal(self, token: str) -> Principal | None:
        """Return whose token this is."""
        record = self._record(token)
        return None if record is None else Principal(record.name, record.role)

    def of_request(self, request: HTTPConnection) -> Principal | None:
        """Return who asks: by the header ``Authorization: Bearer TOKEN``, or else by the session cookie."""
        return self.of_scope(request.scope)

    def of_scope(self, scope: Any) -> Principal | None:
        """Return who asks, from an ASGI scope; worked out once a request."""
        known = scope.get(_PRINCIPAL, _UNSEEN)
        if known is not _UNSEEN:
            return known  # type: ignore[no-any-return]
        found = None
        bearer, session = _credentials(scope)
        if bearer is not None:
            found = self.principal(bearer)
        elif session is not None:
            found = self._of_session(session)
        scope[_PRINCIPAL] = found
        return found

    def require(self, scope: Any, role: str) -> Principal:
        """Return who asks, or raise :class:`Problem` 401 (nobody known) or 403 (whose role does not reach)."""
        who = self.of_scope(scope)
        if who is None:
            raise Problem(
                401,
                "Not authorised",
                "Expected a valid token in the header 'Authorization: Bearer TOKEN'. "
                "The server prints one at its start, or `cartera serve action=token` makes one.",
                headers={"WWW-Authenticate": 'Bearer realm="cartera"'},
            )
        if not who.may(role):
            raise Problem(
                403,
                "Role too low",
                f"This needs a token of the role {role!r}; yours has {who.role!r}. Ask for another with "
                "`cartera serve action=token`.",
                role=role,
            )
        return who

    def log_in(self, token: str) -> str | None:
        """Return the value of the session cookie that a token opens, or ``None`` when it is not valid."""
        record = self._record(token.strip())
        if record is None:
            return None
        body = f"{int(time.time()) + SESSION_SECONDS:x}.{record.sha256[:32]}.{secrets.token_hex(16)}"
        return f"{body}.{self._sign('session', body)}"

    def log_out(self, request: HTTPConnection) -> None:
        """End the session of a request, in this process; the caller removes the cookie."""
        session = self._session(_credentials(request.scope)[1] or "")
        if session is not None:
            now = int(time.time())
            self._ended = {nonce: until for nonce, until in self._ended.items() if until > now}
            self._ended[session.nonce] = session.expires

    def cookie(self, value: str) -> dict[str, Any]:
        """Return the arguments of Starlette's ``set_cookie`` for a session; an empty value removes it."""
        return {
            "key": SESSION_COOKIE,
            "value": value,
            "max_age": SESSION_SECONDS if value else 0,
            "path": "/",
            "secure": self.secure,
            "httponly": True,
            "samesite": "strict",
        }

    def csrf(self, request: HTTPConnection) -> str:
        """Return what a form of this session must send back."""
        session = self._session(_credentials(request.scope)[1] or "")
        return self._sign("form", session.nonce if session else "")

    def check_csrf(self, request: HTTPConnection, given: str) -> bool:
        """Return whether a form was made for this session.

        Without a session, as at the log-in, it says only that this server made the form; that no other site sent it
        is seen by ``machine`` from the header ``Origin``.
        """
        return hmac.compare_digest(self.csrf(request).encode(), given.encode("utf-8", "surrogatepass"))

    def _record(self, token: str) -> TokenRecord | None:
        self._reread()
        given = digest(token)
        found = None
        # All of them are compared, each in constant time: the time tells nothing about what is there.
        for record in self._records:
            if hmac.compare_digest(record.sha256, given):
                found = record
        return found

    def _of_session(self, value: str) -> Principal | None:
        session = self._session(value)
        if session is None:
            return None
        self._reread()
        for record in self._records:
            if record.sha256.startswith(session.token):
                return Principal(record.name, record.role)
        return None

    def _session(self, value: str) -> _Session | None:
        body, _, signature = value.rpartition(".")
        if not hmac.compare_digest(self._sign("session", body).encode(), signature.encode("utf-8", "surrogatepass")):
            return None
        expires, token, nonce = body.split(".")
        session = _Session(int(expires, 16), token, nonce)
        return None if session.expires <= time.time() or nonce in self._ended else session

    def _sign(self, purpose: str, text: str) -> str:
        message = f"{purpose}:{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()

    def _reread(self) -> None:
        now = time.monotonic()
        if self._file is None or now - self._read_at < REREAD_SECONDS:
            return
        self._read_at = now
        try:
            about = self._file.stat()
            signature = (about.st_mtime_ns, about.st_size, about.st_ino)
            if signature == self._signature:
                return
            records, bad = read_tokens(self._file)
        except (CarteraError, OSError) as error:
            # No list, nobody on it: an unreadable file must not keep a revoked token alive.
            if self._signature != (0, 0, 0):
                log.warning("no token of the file is valid any more: %s", error)
            self._signature, self._records = (0, 0, 0), self._held
            return
        for number in bad:
            log.warning("serve.tokens=%s: line %d is no record of a token and is passed over", self._file, number)
        self._signature, self._records = signature, (*self._held, *records)


def _credentials(scope: Any) -> tuple[str | None, str | None]:
    """Return the bearer token and the session cookie of a request."""
    bearer = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, rest = value.decode("latin-1").partition(" ")
            # Of two nobody knows which one a proxy has checked.
            bearer = rest.strip() if scheme.lower() == "bearer" and bearer is None else ""
    return bearer, cookie_of(scope["headers"], SESSION_COOKIE)


def cookie_of(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """Return the value of a cookie as it was sent, in time proportional to the length of the headers.

    Parameters
    ----------
    headers
        Of an ASGI scope, names in small letters.
    name
        Of the cookie. Where it was sent more than once the last one counts.

    Returns
    -------
    str or None
        ``None`` without such a cookie; headers over ``LONGEST_COOKIES`` bytes are passed over. Quotes and backslashes
        stay: our values have none, and the library's reading of them takes quadratic time (CVE-2024-7592).

    Examples
    --------
    >>> cookie_of([(b"cookie", b"a=1; cartera_language=es")], "cartera_language")
    'es'
    """
    found = None
    for header, line in headers:
        if header != b"cookie" or len(line) > LONGEST_COOKIES:
            continue
        for part in line.decode("latin-1").split(";"):
            key, equals, value = part.partition("=")
            if equals and key.strip() == name:
                found = value.strip()
    return found
