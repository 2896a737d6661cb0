"""What all pages share: who may see them, in which language, forms that cannot be forged, and readable problems."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup, escape
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from engine import __version__
from engine.report.look import Chart
from engine.report.numbers import NumberFormat
from engine.report.page import as_json
from engine.schema import LANGUAGES
from engine.serving.pages.files import address
from engine.serving.pages.forms import read_form
from engine.serving.pages.language import LANGUAGE_NAMES, in_language, remember, spoken
from engine.serving.pages.map import Atlas, Atlases
from engine.serving.pages.words import PageWords
from engine.serving.problems import Problem

if TYPE_CHECKING:
    from engine.segments.division import Division
    from engine.serving.access import Access, Principal
    from engine.serving.state import Snapshot, State

log = logging.getLogger(__name__)

SHORT_DIGEST = 12
"""Characters by which a model is called, here and on the command line."""


@dataclass(frozen=True, slots=True)
class PageSettings:
    """How the pages are served.

    Attributes
    ----------
    language
        Of a visitor who has chosen none and whose browser asks for none of ours: ``en`` or ``es``.
    runs
        Folders of ``cartera segment`` that can be compared.
    read_run
        Reads such a folder; the second argument names it in errors. Needed where there are ``runs``.
    """

    language: str = "en"
    runs: tuple[Path, ...] = ()
    read_run: Callable[[Path, str], Division] | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page, with what its page needs.

    Attributes
    ----------
    snapshot
        Model, customers and lake, the same for the whole visit.
    form
        What was posted, the last value of each name.
    path
        Parameters of the address.
    """

    frame: Frame
    request: Request
    snapshot: Snapshot
    principal: Principal | None
    say: PageWords
    to: NumberFormat
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """Language of the page."""
        return self.say.language

    @property
    def path(self) -> Mapping[str, Any]:
        """Parameters of the address."""
        return self.request.path_params

    @property
    def query(self) -> Mapping[str, str]:
        """Parameters behind the question mark."""
        return self.request.query_params

    @property
    def atlas(self) -> Atlas:
        """The map of the model."""
        return self.frame.atlases.of(self.snapshot)

    @property
    def sees_people(self) -> bool:
        """Whether there are customers at hand and this visitor may see them."""
        return self.snapshot.base is not None and self.may("customers")

    @property
    def model_name(self) -> str:
        """What the model is called: the beginning of its digest."""
        return self.snapshot.digest[:SHORT_DIGEST]

    def may(self, role: str) -> bool:
        """Tell whether the visitor has a role, or one that includes it."""
        return self.principal is not None and self.principal.may(role)

    def page(self, template: str, *, title: str, charts: Mapping[str, Chart] | None = None, **values: Any) -> Response:
        """Fill in a template."""
        drawn = dict(charts or {})
        return HTMLResponse(
            self.frame.render(
                template,
                self.request,
                self.say,
                visit=self,
                title=title,
                charts=drawn,
                specs=as_json({"charts": [one.to_dict() for one in drawn.values()], "save": self.say("save_image")}),
                **values,
            ),
            status_code=values.get("status", 200),
        )

    @property
    def footer(self) -> str:
        """What stands below a page: the release, and for who has logged in the model."""
        if self.principal is None:
            return self.say("serving_footer_bare", version=__version__)
        loaded = self.snapshot.loaded_at
        return self.say(
            "serving_footer",
            version=__version__,
            digest=self.model_name,
            day=self.to.date(loaded.date().isoformat()),
            time=f"{loaded:%H:%M}",
        )


Handler = Callable[[Visit], Response]


class Frame:
    """Puts every page behind the same door.

    Parameters
    ----------
    state, access
        What is served, and to whom.
    settings
        Of the pages.
    """

    def __init__(self, state: State, access: Access, settings: PageSettings) -> None:
        self.state, self.access, self.settings = state, access, settings
        self.atlases = Atlases()

    def route(
        self,
        path: str,
        handler: Handler,
        *,
        role: str | None = "classify",
        methods: tuple[str, ...] = ("GET",),
    ) -> Route:
        """Return the route of a page.

        Parameters
        ----------
        path
            Starlette's template.
        handler
            From a visit to its answer; it runs in a thread.
        role
            Who may see it; None for everybody.
        methods
            ``GET`` brings ``HEAD`` with it. What is posted must carry the session's own token.
        """

        async def endpoint(request: Request) -> Response:
            try:
                principal = self.access.of_request(request)
                if role is not None and principal is None:
                    return self._remember(request, _to_login(request))
                form = await read_form(request) if request.method == "POST" else {}
                if request.method == "POST" and not self.access.check_csrf(request, form.get("csrf", "")):
                    raise PageProblem(403, detail=self.words(request)("form_expired"))
                visit = self._visit(request, principal, form)
                if role is not None and not visit.may(role):
                    raise Problem(403)
                response = await run_in_threadpool(handler, visit)
            except Problem as problem:
                response = problem_page(request, problem, self.settings)
            return self._remember(request, response)

        return PageRoute(self, path, endpoint, methods)

    def problem(self, request: Request, say: PageWords, status: int, values: Mapping[str, Any]) -> str:
        """Fill in the page of a problem, with the menu for who has logged in."""
        # Where the fault is ours, the page must not need what may be broken.
        principal = None if status >= 500 else self.access.of_request(request)
        visit = None if principal is None else self._visit(request, principal, {})
        footer = say("serving_footer_bare", version=__version__) if visit is None else visit.footer
        # What was posted cannot be repeated by the switch of the language.
        own: dict[str, Any] = {} if request.method == "GET" else {"languages": []}
        return self.render("problem.html.j2", request, say, visit=visit, footer=footer, **own, **values)

    def words(self, request: Request) -> PageWords:
        """Return the texts in the language of a request."""
        return PageWords(spoken(request, self.settings.language))

    def render(self, template: str, request: Request, say: PageWords, *, visit: Visit | None, **values: Any) -> str:
        """Fill in a template with what it needs and what all pages need."""
        principal = None if visit is None else visit.principal
        page = {
            "say": say,
            "language": say.language,
            "languages": [
                (LANGUAGE_NAMES[one], one, in_language(request, one)) for one in LANGUAGES if one != say.language
            ],
            "here": request.url.path,
            "known": principal is not None,
            "sees_people": visit is not None and visit.sees_people,
            "csrf": self.access.csrf(request),
            "runs": len(self.settings.runs) > 1,
            "address": address,
            "charts": {},
            "footer": "" if visit is None else visit.footer,
            "resend": "",
            **values,
        }
        return templates().get_template(template).render(page)

    def _visit(self, request: Request, principal: Principal | None, form: Mapping[str, str]) -> Visit:
        say = self.words(request)
        return Visit(self, request, self.state.now, principal, say, NumberFormat(say.language), form)

    def _remember(self, request: Request, response: Response) -> Response:
        """Keep the language that the address asks for, and the page out of caches."""
        response.headers["Cache-Control"] = "no-store"
        remember(request, response, secure=self.access.secure)
        return response


class PageRoute(Route):
    """The route of a page; it knows the frame that the page stands in."""

    def __init__(self, frame: Frame, path: str, endpoint: Callable[..., Any], methods: tuple[str, ...]) -> None:
        super().__init__(path, endpoint, methods=list(methods), name=f"page {path}")
        self.frame = frame


@cache
def templates() -> jinja2.Environment:
    """Return the templates of the pages; marks and drawings are those of the report."""
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("engine.serving.pages"), jinja2.PackageLoader("engine.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["coded"] = coded
    return found


def coded(text: str) -> Markup:
    """Show what stands between backticks as code; the rest is escaped.

    Examples
    --------
    >>> print(coded("Run `cartera serve` & log in."))
    Run <code>cartera serve</code> &amp; log in.
    >>> print(coded("A lone ` stays."))
    A lone ` stays.
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def problem_page(request: Request, problem: Problem, settings: PageSettings) -> Response:
    """Show a problem to a reader.

    Parameters
    ----------
    problem
        Its status chooses the words. Its detail is shown where it is in the reader's language, or where we have no
        advice of our own: the API's details are for machines, in English.
    """
    say = PageWords(spoken(request, settings.language))
    status = problem.status
    key = f"problem_{status}_help"
    advice = say(key) if say.has(key) else say("problem_500_help") if status >= 500 else ""
    title = f"problem_{status}"
    if not say.has(title):
        title = "problem_500" if status >= 500 else "problem_other"
    own = isinstance(problem, PageProblem)
    values = {
        "title": say(title),
        "status": status,
        "detail": problem.detail if own or not advice else "",
        "advice": "" if own else advice,
        "login": status == 401,
    }
    frame = _frame_of(request)
    if frame is not None:
        return HTMLResponse(frame.problem(request, say, status, values), status, problem.headers)
    bare = {
        "say": say,
        "language": say.language,
        "languages": [],
        "here": "",
        "known": False,
        "charts": {},
        "address": address,
        "footer": say("serving_footer_bare", version=__version__),
        "resend": "",
    }
    return HTMLResponse(templates().get_template("problem.html.j2").render(bare | values), status, problem.headers)


def local(address: str) -> str:
    """Return an address if it is one of our own pages, else the overview: nobody is sent elsewhere.

    Examples
    --------
    >>> local("/classify"), local("//elsewhere.example"), local("https://elsewhere.example")
    ('/classify', '/', '/')
    """
    own = address.startswith("/") and address[1:2] not in ("/", "\\") and address.isprintable()
    return address if own else "/"


def customer_address(customer_id: int | str) -> str:
    """Return the address of a customer's page, whatever signs the id holds.

    Examples
    --------
    >>> customer_address("50% á/b")
    '/customers/50%25%20%C3%A1%2Fb'
    """
    return f"/customers/{quote(str(customer_id), safe='')}"


class PageProblem(Problem):
    """A problem whose detail is in the reader's language."""


def not_found(detail: str) -> PageProblem:
    """Return the problem of something that is not there."""
    return PageProblem(404, detail=detail)


def _frame_of(request: Request) -> Frame | None:
    """Return the frame of the pages of the application that answers; None before it was reached."""
    app = request.scope.get("app")
    return next((route.frame for route in getattr(app, "routes", ()) if isinstance(route, PageRoute)), None)


def _to_login(request: Request) -> Response:
    path = request.url.path
    # No number of a customer is left in an address that is kept.
    target = "/customers" if path.startswith("/customers/") else path
    asked = {} if target == "/" or request.method != "GET" else {"next": target}
    language = request.query_params.get("language")
    if language in LANGUAGES:
        asked["language"] = language
    return RedirectResponse("/login" + (f"?{urlencode(asked)}" if asked else ""), status_code=303)
