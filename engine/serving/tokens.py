"""The file of tokens: one JSON object a line with a name, a role and the hash of a token, never the token itself.

A token is 256 random bits, so its plain SHA-256 gives nothing away: there is no list of likely tokens to try, which is
what slow, salted password hashes are for.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from engine.errors import OutputExistsError, SettingError, SourceNotFoundError

ROLES = ("classify", "customers", "admin")
"""Each may what those before it may: classify and see segments; see persons; read the metrics."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token.

    Attributes
    ----------
    name
        Who holds it; unique in its file.
    role
        One of :data:`ROLES`.
    sha256
        Of the token, in hexadecimal.
    created
        Day of its creation, ISO 8601.
    """

    name: str
    role: str
    sha256: str
    created: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise SettingError.from_unknown("token.role", self.role, ROLES)
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise SettingError(f"token.name: expected a name such as till or crm; got {self.name!r}.")
        if not (
            isinstance(self.sha256, str) and len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")
        ):
            raise SettingError("sha256: expected 64 hexadecimal digits.")


def new_token() -> str:
    """Return a random token of 256 bits, in 43 characters that a header and a shell take as they are."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return the hash by which a token is known.

    Examples
    --------
    >>> digest("a")[:8]
    'ca978112'
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def issue(file: Path, name: str, role: str, *, today: date) -> str:
    """Make a token, append its record to the file, and return it: nobody can read it there later.

    Raises
    ------
    SettingError
        The role is unknown, or the name is taken.
    OutputExistsError
        The file holds something else.
    """
    token = new_token()
    record = TokenRecord(name=name, role=role, sha256=digest(token), created=today.isoformat())
    held: Sequence[TokenRecord] = ()
    if file.exists():
        held, bad = read_tokens(file)
        if bad:
            raise OutputExistsError(
                f"serve.tokens={file}: line {bad[0]} is no record of a token. Mend or remove it, or name another file."
            )
    if any(each.name == name for each in held):
        raise SettingError(
            f"token.name={name}: {file} has a token of that name. Remove its line to revoke it, or choose another name."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    # One write at the end of the file: a server that reads it meanwhile sees whole lines.
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(opened, "ab") as stream:
        os.fchmod(stream.fileno(), 0o600)
        before = file.read_bytes()
        line = json.dumps(asdict(record), ensure_ascii=False) + "\n"
        stream.write(("\n" if before and not before.endswith(b"\n") else "").encode() + line.encode())
    return token


def read_tokens(file: Path) -> tuple[list[TokenRecord], list[int]]:
    """Return the records of a file, and the numbers of the lines that are none.

    Raises
    ------
    SourceNotFoundError
        There is no such file.
    SettingError
        It cannot be read.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"serve.tokens={file}: no such file. Make one with cartera serve action=token serve.tokens={file} "
            "token.name=NAME token.role=ROLE."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(
            f"serve.tokens={file}: expected a file of tokens, one JSON object a line ({error})."
        ) from None
    records, bad = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(TokenRecord(**json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            bad.append(number)
    return records, bad
