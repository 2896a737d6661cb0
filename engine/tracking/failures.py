"""What stores and their drivers raise, turned into one error with the address and the next step."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import TrackingError

SQLITE = "sqlite:///"
PROBE_SECONDS = 3.0
"""How long an address may take to answer at all."""

_EXPECTED = (
    "Expected a database such as sqlite:///runs/mlflow.db, the address of an MLflow server, or null for no tracking."
)
_DRIVERS = {"alembic", "azure", "boto3", "botocore", "google", "mlflow", "requests", "sqlalchemy", "sqlite3", "urllib3"}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# A database that answers so is up: waiting for it would help nobody.
_REFUSALS = ("password", "access denied", "login failed", "pg_hba", "does not exist", "unknown database", "role ")
_NEXT_STEPS = {
    "database or disk is full": "The disk is full. Make room, or choose another tracking.uri.",
    "readonly database": "The database may only be read. Make it writable, or choose another tracking.uri.",
    "not a database": "The file is no SQLite database. Choose another tracking.uri, such as sqlite:///runs/mlflow.db.",
    "disk image is malformed": "The database is damaged. Restore a copy, or choose another tracking.uri.",
    "unable to open database file": "Make the folder, or the right to write there, or choose another tracking.uri.",
}


# A password may hold an @, a slash or a quote: up to the last @ of the word. A file has no user.
_USER = re.compile(r"(?i)(?<=\w://)(?<!sqlite://)(?<!file://)\S*@")
_SECRET = re.compile(
    r"(?i)([?&;#](?:[\w.%-]*(?:pass|pwd|token|secret|key|signature|credential|auth)[\w.%-]*|sig|sas)=)[^&\s]+"
)


class UnreachableError(TrackingError):
    """The store may be right but does not answer now: what was to be written can wait."""


def redacted(text: str) -> str:
    """Return a text with the user names, passwords and tokens of addresses in it blotted out.

    Examples
    --------
    >>> redacted("postgresql://ana:secret@host/db")
    'postgresql://***@host/db'
    >>> redacted("postgresql://host/db?user=ana&password=secret")
    'postgresql://host/db?user=ana&password=***'
    """
    text = _USER.sub("***@", text)
    return _SECRET.sub(r"\1***", text)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite address, or ``None`` for any other.

    Examples
    --------
    >>> sqlite_file("sqlite:////data/mlflow.db").as_posix()
    '/data/mlflow.db'
    >>> sqlite_file("https://mlflow.example.com") is None
    True
    """
    if not uri.startswith(SQLITE):
        return None
    path = uri.removeprefix(SQLITE).partition("?")[0].removeprefix("file:")
    return None if path in ("", ":memory:") else Path(path).absolute()


@contextmanager
def translated(uri: str, what: str) -> Iterator[None]:
    """Turn what a store's drivers raise into :class:`TrackingError`, or `UnreachableError` where waiting helps."""
    retries = logging.getLogger("urllib3.connectionpool")
    level = retries.level
    # What an attempt that is made again has to say is said once, below, if the last one fails too.
    retries.setLevel(logging.ERROR)
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:
        known = isinstance(error, OSError | ImportError) or type(error).__module__.partition(".")[0] in _DRIVERS
        if not known or isinstance(error, Warning):
            raise
        chain = list(_chain(error))
        text = " ".join(map(str, chain))
        # The driver's own message may hold the password: none of them goes on with the error.
        if _is_down(uri, chain, text):
            raise UnreachableError(f"tracking.uri={redacted(uri)}: no answer ({_first_line(chain[-1])}).") from None
        next_step = (
            _schema_step(uri, text)
            or _half_made_step(uri, text)
            or next((s for sign, s in _NEXT_STEPS.items() if sign in text), _EXPECTED)
        )
        raise TrackingError(
            f"tracking.uri={redacted(uri)}: cannot be {what} ({_first_line(error)}). {next_step}"
        ) from None
    finally:
        retries.setLevel(level)


def check_address(uri: str) -> None:
    """Find out quickly what the drivers would find out slowly: they try again for minutes.

    Raises
    ------
    TrackingError
        A database that lives only in memory.
    UnreachableError
        Nothing answers at the address.
    OSError, ImportError
        A path that is no database, or a database without its driver.
    """
    if _only_in_memory(uri):
        raise TrackingError(
            f"tracking.uri={uri}: names no file, so the record would be gone when the command ends. {_EXPECTED}"
        )
    file = sqlite_file(uri)
    if file is not None:
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(16) not in (b"", b"SQLite format 3\0"):
                    raise OSError(f"{file} is not a database")
    elif uri.startswith(("http://", "https://")):
        _ask_server(uri)
    elif uri.startswith(tuple(_PORTS)):
        _ask_database(uri)


def _only_in_memory(uri: str) -> bool:
    scheme, _, rest = uri.partition("://")
    path, _, query = rest.removeprefix("/").partition("?")
    memory = path.removeprefix("file:") in ("", ":memory:") or "mode=memory" in query
    return scheme.partition("+")[0] == "sqlite" and memory


def _ask_server(uri: str) -> None:
    import requests

    verify = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in ("true", "1")
    try:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS, verify=verify)
    except requests.exceptions.SSLError:
        # MLflow has more ways to set certificates: let it speak.
        return
    if answer.status_code in (502, 503, 504):
        raise requests.exceptions.RetryError(f"the server answers {answer.status_code} {answer.reason}")


def _ask_database(uri: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)  # the driver is imported here
    try:
        if engine.url.host:
            port = engine.url.port or _PORTS[engine.url.get_backend_name()]
            try:
                socket.create_connection((engine.url.host, port), timeout=PROBE_SECONDS).close()
            except OSError as error:
                raise UnreachableError(f"tracking.uri={redacted(uri)}: no answer ({_first_line(error)}).") from None
        with engine.connect():
            pass
    finally:
        engine.dispose()


def _first_line(error: BaseException) -> str:
    return redacted((str(error).strip() or type(error).__name__).splitlines()[0]).rstrip(".")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 20:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1


def _is_down(uri: str, chain: list[BaseException], text: str) -> bool:
    if uri.startswith("sqlite"):
        # Another process writes for longer than the 20 s that MLflow waits.
        return "database is locked" in text
    for error in chain:
        root, name = type(error).__module__.partition(".")[0], type(error).__name__
        if name == "SSLError":
            return False
        if root == "requests":
            response = getattr(error, "response", None)
            if response is not None:
                return bool(response.status_code >= 500 or response.status_code == 429)
            if name.endswith(("ConnectionError", "Timeout", "RetryError", "ProxyError", "ChunkedEncodingError")):
                return True
        if root == "sqlalchemy" and name in ("OperationalError", "InterfaceError"):
            return not any(sign in text.lower() for sign in _REFUSALS)
    return False


def _schema_step(uri: str, text: str) -> str | None:
    """Return what to do about a database that another release of MLflow made, if that is what was said."""
    found = re.search(r"found version (\w+)", text) or re.search(r"Can't locate revision identified by '(\w+)'", text)
    if found is None:
        return None
    from importlib.metadata import version

    if found[1] == "None" or _knows(found[1]):
        return (
            f"An older MLflow made the database. Copy it, then run `mlflow db upgrade {redacted(uri)}`, "
            "or choose another tracking.uri."
        )
    return (
        f"A newer MLflow than the installed {version('mlflow')} made the database. Run `pip install -U mlflow`, "
        "or choose another tracking.uri."
    )


def _half_made_step(uri: str, text: str) -> str | None:
    """Return what to do about a database whose tables MLflow was not allowed to finish, if that is what was said."""
    if not uri.startswith("sqlite") or not re.search(r"(table|index) \S+ already exists|duplicate column name", text):
        return None
    return (
        f"MLflow was cut off while it made or upgraded the database. Move {sqlite_file(uri)} away, "
        "and the next run makes a new one; or choose another tracking.uri."
    )


def _knows(revision: str) -> bool:
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        return ScriptDirectory(mlflow.store.db_migrations.__path__[0]).get_revision(revision) is not None
    except CommandError:
        return False
