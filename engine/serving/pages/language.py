"""In which language a reader is answered: the one they chose, else their browser's, else the server's."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from engine.schema import LANGUAGES
from engine.serving.access import cookie_of

LANGUAGE_COOKIE = "cartera_language"
LANGUAGE_SECONDS = 365 * 24 * 3600

LANGUAGE_NAMES = {"en": "English", "es": "Español"}

LONGEST_LANGUAGES = 500
"""Characters of a header ``Accept-Language``; browsers send some fifty, and a longer one is passed over."""


def spoken(request: Request, default: str) -> str:
    """Return the language of a request: of its address, else of its cookie, else of its browser, else the default."""
    for asked in (request.query_params.get("language"), cookie_of(request.scope["headers"], LANGUAGE_COOKIE)):
        if asked in LANGUAGES:
            return asked
    return preferred(request.headers.get("accept-language", "")) or default


def preferred(header: str) -> str | None:
    """Return which of our languages a header ``Accept-Language`` likes best; None where it names none of them.

    Examples
    --------
    >>> preferred("es-MX,es;q=0.9,en;q=0.8"), preferred("de, en-GB;q=0.5"), preferred("fr"), preferred("en;q=0, es")
    ('es', 'en', None, 'es')
    """
    found: dict[str, float] = {}
    for part in header.split(",") if len(header) <= LONGEST_LANGUAGES else ():
        name, _, weight = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            liking = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if language in LANGUAGES and 0 < liking <= 1:
            found[language] = max(liking, found.get(language, 0.0))
    # Of two that are liked alike the first named is meant.
    return max(found, key=found.__getitem__, default=None)


def in_language(request: Request, language: str) -> str:
    """Return the address of the same page in another language."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "language"]
    raw: bytes = request.scope.get("raw_path") or quote(request.url.path).encode()
    return f"{raw.decode('latin-1').partition('?')[0]}?{urlencode([*kept, ('language', language)])}"


def remember(request: Request, response: Response, *, secure: bool) -> None:
    """Keep the language that the address asks for, for the pages after this one."""
    asked = request.query_params.get("language")
    if asked in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE, asked, max_age=LANGUAGE_SECONDS, secure=secure, httponly=True, samesite="lax"
        )
