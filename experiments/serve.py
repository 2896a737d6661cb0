"""``cartera serve``: a bundle over HTTP, until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from experiments.app import is_multirun, verb
from experiments.failures import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from engine.serving.settings import ServeSettings
    from engine.serving.state import State

ACTIONS = ("serve", "token")


def run(config: DictConfig) -> None:
    """Serve, or make a token."""
    signal.signal(signal.SIGTERM, _end)
    from engine.errors import SettingError
    from experiments.settings import ServeConfig, typed

    c = typed(config, ServeConfig)
    if c.action not in ACTIONS:
        raise SettingError.from_unknown("action", c.action, ACTIONS)
    if is_multirun():
        raise SettingError("serve: it does not end by itself, so -m has nothing to go through. Start it once for each.")
    if c.action == "token":
        make_token(c)
    else:
        serve(c)


def make_token(c: Any) -> None:
    """Make a token, keep its hash, and print it."""
    from datetime import date

    from engine.errors import SettingError
    from engine.serving.tokens import issue

    if c.serve.tokens is None or c.token.name is None:
        raise SettingError("action=token: give serve.tokens=FILE and token.name=NAME (and token.role=ROLE).")
    token = issue(Path(c.serve.tokens), c.token.name, c.token.role, today=date.today())
    print(token)
    print("It is shown this once; the file holds its hash.", file=sys.stderr)


def serve(c: Any) -> None:
    """Open what is served, tell where, and answer until a signal comes."""
    import contextlib
    import secrets
    from datetime import date

    from engine.errors import SettingError
    from engine.serving.opening import Opening
    from engine.serving.server import Worker, listen, run, share_figures
    from engine.serving.spool import remove_leftovers, spool
    from engine.serving.tokens import TokenRecord, digest, new_token
    from experiments.score import read_customers

    if c.bundle is None:
        raise SettingError("bundle: required; give bundle=FOLDER, the folder `bundle` of a segment run.")
    check_folders(c)
    settings = serve_settings(c)
    remove_leftovers()
    with spool() if settings.workers > 1 else contextlib.nullcontext() as shared:
        if shared is not None:
            share_figures(shared / "figures")
        opening = Opening(
            bundle=Path(c.bundle),
            customers=None if c.customers is None else Path(c.customers),
            lake=None if c.lake is None else Path(c.lake),
            recommender=None if c.recommender is None else Path(c.recommender),
            read=read_customers,
            spool=shared,
        )
        state = opening()
        token = None if settings.tokens else new_token()
        records = () if token is None else (TokenRecord("printed", "admin", digest(token), date.today().isoformat()),)
        with listen(settings) as sock:
            tell(state, settings, sock.getsockname()[1])
            if token is not None:
                print(f"token: {token}", file=sys.stderr, flush=True)
            worker = Worker(settings=settings, opening=opening, tokens=records, key=secrets.token_bytes(32))
            ended_by = run(worker, sock, state)
    if ended_by == signal.SIGINT:
        _interrupted.append(ended_by)
        # A terminal has shown ^C already.
        line = "\n" if sys.stderr.isatty() else ""
        print(f"{line}cartera serve: {_say('ended by Ctrl-C.', 'terminado con Ctrl-C.', settings)}", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


INSIDE = {
    "bundle": ("manifest.json", ("bundle",)),
    "customers": ("manifest.json", ("customers", "features.parquet")),
    "lake": ("transactions", ("lake",)),
    "recommender": ("manifest.json", ("recommender",)),
}
"""By setting: what its folder holds, and how such a folder, or a file that will do, is called in that of a run."""


def check_folders(c: Any) -> None:
    """Raise where the folder of a whole run was given for one that lies in it.

    Raises
    ------
    SettingError
        The run's folder has what was asked for inside; its name is told.
    """
    from engine.errors import SettingError

    for key, (holds, names) in INSIDE.items():
        given = getattr(c, key)
        if given is None or (Path(given) / holds).exists():
            continue
        for inside in (Path(given) / name for name in names):
            if (inside / holds).exists() or inside.is_file():
                raise SettingError(f"{key}={given}: this is the folder of a run. Give {key}={inside}.")


def serve_settings(c: Any) -> ServeSettings:
    """Return the settings as the engine takes them."""
    from engine.serving.settings import ServeSettings
    from experiments.compare import check_run, read_run

    runs = tuple(Path(str(folder)) for folder in c.runs)
    for folder in runs:
        check_run(folder, "runs")
    s = c.serve
    return ServeSettings(
        host=s.host,
        port=s.port,
        workers=s.workers,
        tokens=None if s.tokens is None else Path(s.tokens),
        tls_certificate=None if s.tls_certificate is None else Path(s.tls_certificate),
        tls_key=None if s.tls_key is None else Path(s.tls_key),
        behind_proxy=s.behind_proxy,
        proxies=tuple(s.proxies),
        hosts=tuple(s.hosts),
        rate=s.rate,
        max_body_mib=s.max_body_mib,
        max_rows=s.max_rows,
        metrics_public=s.metrics_public,
        language=c.language,
        log=s.log,
        runs=runs,
        read_run=read_run if runs else None,
    )


def tell(state: State, settings: ServeSettings, port: int) -> None:
    """Print the address and the figures that matter, in the reader's language."""
    from engine.report.numbers import NumberFormat

    now, shown = state.now, NumberFormat(settings.language)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if settings.tls_certificate is None else "https"

    def say(en: str, es: str) -> str:
        return _say(en, es, settings)

    names = ", ".join(now.model.spec.names)
    offers = now.offers
    day = "" if offers is None else shown.date(offers.as_of.date().isoformat())
    known = say(f"customers, by purchases before {day}", f"clientes, según las compras anteriores al {day}")
    lines = [
        (say("address", "dirección"), f"{scheme}://{host}:{port}"),
        (say("segments", "segmentos"), f"{now.model.k} {say('on', 'con')} {names}"),
        (say("customers", "clientes"), say("none", "ninguno") if now.base is None else shown.whole(now.base.n)),
        *(
            [(say("recommendations", "recomendaciones"), f"{shown.whole(offers.customers)} {known}")]
            if offers is not None
            else []
        ),
        (say("model", "modelo"), now.digest[:12]),
        (say("workers", "procesos"), str(settings.workers)),
    ]
    width = max(len(label) for label, _ in lines) + 4
    for label, value in lines:
        print(f"{label:<{width}}{value}")
    sys.stdout.flush()


def _say(en: str, es: str, settings: ServeSettings) -> str:
    return es if settings.language == "es" else en


def main() -> None:
    """Run the verb; SIGHUP harms nothing before the server takes it, and SIGTERM is no failure at any time."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _interrupt)
    _interrupted.clear()
    try:
        verb("serve")(run)()
    except SystemExit as leaving:
        # Every verb takes SIGTERM for Ctrl-C until its task begins.
        if leaving.code != EXIT_INTERRUPTED or _interrupted:
            raise
        _leave()
    except KeyboardInterrupt:
        # It came before Hydra was there to tell it.
        if _interrupted:
            sys.exit(EXIT_INTERRUPTED)
        _leave()


_interrupted: list[int] = []
"""Not empty once Ctrl-C was pressed."""


def _interrupt(number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
    _interrupted.append(number)
    raise KeyboardInterrupt


def _leave() -> None:
    """End with 0, at once: nothing has been opened yet."""
    sys.stdout.flush()
    sys.stderr.flush()
    # An interruption inside of `exec`, with which dataclasses are made, marks the whole process: it would end as by
    # Ctrl-C although the interruption was caught.
    os._exit(0)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    main()
