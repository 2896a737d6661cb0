"""The pages that a person uses, and where each is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from engine.errors import SettingError
from engine.schema import check_language
from engine.serving.pages import classify, compare, customers, segments
from engine.serving.pages.files import static_route
from engine.serving.pages.frame import Frame, PageSettings, Visit, local, problem_page

if TYPE_CHECKING:
    from engine.serving.access import Access
    from engine.serving.state import State

__all__ = ["PageSettings", "page_routes", "problem_page"]


def page_routes(state: State, access: Access, settings: PageSettings) -> list[BaseRoute]:
    """Return the routes of all pages.

    Parameters
    ----------
    state
        What is served; each request takes one snapshot of it.
    access
        Who may see what: ``classify`` the overview, the segments, the form and the comparison of runs; ``customers``
        persons too.
    settings
        Language and runs.

    Raises
    ------
    SettingError
        An unknown language, or runs without a way to read them.
    """
    check_language(settings.language)
    if settings.runs and settings.read_run is None:
        raise SettingError("runs: expected a function that reads them (read_run); got none.")
    frame = Frame(state, access, settings)
    return [
        frame.route("/", segments.overview),
        frame.route("/segments/{segment_id}", segments.segment),
        frame.route("/classify", classify.form),
        frame.route("/classify", classify.answer, methods=("POST",)),
        frame.route("/customers", customers.search, role="customers"),
        frame.route("/customers", customers.find, role="customers", methods=("POST",)),
        frame.route("/customers/{customer_id:path}", customers.customer, role="customers"),
        frame.route("/compare", compare.choose),
        frame.route("/compare/report", compare.report),
        frame.route("/login", _ask_for_token, role=None),
        frame.route("/login", _log_in, role=None, methods=("POST",)),
        frame.route("/logout", _log_out, role=None, methods=("POST",)),
        static_route(),
    ]


def _ask_for_token(visit: Visit) -> Response:
    target = local(visit.query.get("next", "/"))
    if visit.principal is not None:
        return RedirectResponse(target, status_code=303)
    return _login_page(visit, target)


def _log_in(visit: Visit) -> Response:
    target = local(visit.form.get("next", "/"))
    access = visit.frame.access
    session = access.log_in(visit.form.get("token", ""))
    if session is None:
        return _login_page(visit, target, error=visit.say("login_wrong"))
    response = RedirectResponse(target, status_code=303)
    response.set_cookie(**access.cookie(session))
    return response


def _log_out(visit: Visit) -> Response:
    access = visit.frame.access
    access.log_out(visit.request)
    response = RedirectResponse("/login", status_code=303)
    response.set_cookie(**access.cookie(""))
    return response


def _login_page(visit: Visit, target: str, *, error: str = "") -> Response:
    return visit.page(
        "login.html.j2", title=visit.say("login_title"), status=401 if error else 200, target=target, error=error
    )
