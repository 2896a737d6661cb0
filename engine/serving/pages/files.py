"""Styles and scripts of the pages, from this machine: nothing is fetched from elsewhere.

Each file's address carries the hash of its content, so a browser keeps it for a year and still sees the next release.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FILES = {
    "pages.css": (
        ("engine.report", "templates/report.css"),
        ("engine.report", "templates/flow.css"),
        ("engine.report", "templates/stack.css"),
        ("engine.serving.pages", "static/pages.css"),
    ),
    "pages.js": (("engine.serving.pages", "static/pages.js"),),
    "report.js": (("engine.report", "templates/report.js"),),
    "plotly.js": (("plotly", "package_data/plotly.min.js"),),
}
"""What is served under ``/static/``, and of which files each is made; there is nothing else."""

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}

KEEP = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file ready to be sent."""

    content: bytes
    packed: bytes
    digest: str
    media_type: str


@cache
def static_file(name: str) -> StaticFile:
    """Read one of :data:`FILES`, once.

    Raises
    ------
    KeyError
        There is none of this name.
    """
    content = b"\n".join(
        resources.files(package).joinpath(*path.split("/")).read_bytes() for package, path in FILES[name]
    )
    digest = hashlib.sha256(content).hexdigest()[:16]
    return StaticFile(content, gzip.compress(content, 6, mtime=0), digest, TYPES[name.rpartition(".")[2]])


@cache
def address(name: str) -> str:
    """Return where a file is found: ``/static/pages.css?v=…``."""
    return f"/static/{name}?v={static_file(name).digest}"


def send(request: Request) -> Response:
    """Answer with a file, packed for those who take it so; 404 for any other name."""
    name = request.path_params["name"]
    if name not in FILES:
        return Response("Not found", status_code=404, media_type="text/plain")
    file = static_file(name)
    headers = {"Cache-Control": KEEP, "ETag": f'"{file.digest}"', "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    # "gzip;q=0" is a refusal; whoever sends it also takes the plain file.
    takes = [part.strip().lower() for part in request.headers.get("accept-encoding", "").split(",")]
    if "gzip" in takes:
        return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


def static_route() -> Route:
    """Return the route of all files; nobody needs a token for them."""
    return Route("/static/{name:path}", send, methods=["GET"], name="page /static/{name}")
