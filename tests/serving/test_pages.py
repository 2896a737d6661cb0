"""The pages behind their door: who sees what, in which language, and that no name can break out of its place."""

from __future__ import annotations

import gzip
import html
import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from starlette.requests import Request

from engine.report.look import PALETTE
from engine.schema import Word
from engine.serving.pages import PageSettings, problem_page
from engine.serving.pages.files import FILES, address, static_file
from engine.serving.pages.forms import LARGEST_FORM
from engine.serving.pages.frame import local
from engine.serving.pages.map import Atlas
from engine.serving.pages.words import TEXTS
from engine.serving.problems import Problem
from tests.serving.pages_example import HOSTILE, STRANGE_IDS, World, csrf_of, make_world

PAGES = ("/", "/segments/seg-000001", "/classify", "/customers", "/customers/7", "/compare")
PEOPLE = ("/customers", "/customers/7", "/customers?segment=seg-000001")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> World:
    ids = [*STRANGE_IDS, *(f"c{number}" for number in range(60))]
    return make_world(tmp_path_factory.mktemp("hostile"), names=HOSTILE, ids=ids, sales=True, where="<b>x</b>")


def visible(page: str) -> str:
    """Return the text of a page as it is read."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_logging_in(world, path):
    answer = world.client(None).get(path)
    assert answer.status_code == 303
    assert urlsplit(answer.headers["location"]).path == "/login"
    wanted = parse_qs(urlsplit(answer.headers["location"]).query).get("next", ["/"])[0]
    # The number of a customer is in no address but the page's own.
    assert wanted == ("/customers" if path.startswith("/customers") else path)


@pytest.mark.parametrize(
    ("path", "target"),
    [("/classify", "/classify"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil.example", "/")],
)
def test_logging_in_leads_to_a_page_of_ours(world, path, target):
    client = world.client(None)
    page = client.get("/login", params={"next": path}).text
    assert f'name="next" value="{target}"' in page
    sent = client.post("/login", data={"csrf": csrf_of(page), "token": "token-classify", "next": path})
    assert (sent.status_code, sent.headers["location"]) == (303, target)
    cookie = sent.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/classify").status_code == 200
    # Who has logged in already is not asked again.
    assert client.get("/login", params={"next": path}).headers["location"] == target


def test_a_wrong_token_opens_nothing_and_is_not_repeated(world):
    client = world.client(None)
    page = client.get("/login").text
    answer = client.post("/login", data={"csrf": csrf_of(page), "token": "guess-1234"})
    assert answer.status_code == 401
    assert TEXTS["login_wrong"].en in visible(answer.text)
    assert "guess-1234" not in answer.text
    assert "set-cookie" not in answer.headers
    assert client.get("/").status_code == 303


def test_logging_out_ends_the_session_for_whoever_kept_the_cookie(world):
    client = world.client("customers")
    page = client.get("/").text
    kept = dict(client.cookies)
    assert client.post("/logout", data={"csrf": csrf_of(page)}).headers["location"] == "/login"
    assert world.client(None, **kept).get("/").status_code == 303


@pytest.mark.parametrize("path", ["/classify", "/customers", "/logout", "/login"])
@pytest.mark.parametrize("given", [None, "", "forged", "other"])
def test_a_form_from_elsewhere_is_refused(world, path, given):
    client = world.client(None if path == "/login" else "customers")
    form = {"token": "token-admin", "customer_id": "7"}
    if given is not None:
        # Another session's form is as foreign as a forged one.
        form["csrf"] = csrf_of(world.client("admin").get("/").text) if given == "other" else given
    answer = client.post(path, data=form)
    assert answer.status_code == 403
    assert TEXTS["form_expired"].en in visible(answer.text)
    assert "set-cookie" not in answer.headers


def test_a_role_sees_what_is_its_own(world):
    few, many = world.client("classify"), world.client("customers")
    for path in ("/", "/segments/seg-000001", "/classify", "/compare"):
        assert few.get(path).status_code == 200
        assert many.get(path).status_code == 200
    for path in PEOPLE:
        refused = few.get(path)
        assert refused.status_code == 403
        assert TEXTS["problem_403_help"].en in visible(refused.text)
        assert many.get(path).status_code == 200
    assert few.post("/customers", data={"csrf": csrf_of(few.get("/").text), "customer_id": "7"}).status_code == 403
    assert 'href="/customers' not in few.get("/").text + few.get("/segments/seg-000001").text
    assert 'href="/customers' in many.get("/").text


def test_no_customer_shows_where_only_segments_may_be_seen(hostile):
    client = hostile.client("classify")
    pages = "".join(client.get(path).text for path in ("/", "/segments/seg-000001", "/classify", "/compare"))
    for customer_id in hostile.customers["customer_id"]:
        assert html.escape(customer_id, quote=False) not in visible(pages).split()


def test_without_customers_the_pages_of_people_say_so(tmp_path):
    world = make_world(tmp_path, people=False)
    client = world.client("admin")
    answer = client.get("/customers")
    assert answer.status_code == 404
    assert TEXTS["no_base"].en.replace("`", "").rstrip(".") in visible(answer.text)
    assert 'href="/customers' not in client.get("/").text
    # The map is that of the segments' centres.
    assert visible(client.get("/").text).count("centres of the segments") == 1
    assert client.get("/segments/seg-000000").status_code == 200


def test_the_menu_stays_where_a_page_is_missing_but_only_for_who_has_logged_in(world):
    few, many = world.client("classify"), world.client("customers")
    for path in ("/nothing", "/segments/none"):
        missing = many.get(path)
        assert missing.status_code == 404
        assert 'href="/classify"' in missing.text
        assert 'href="/customers"' in missing.text
        assert 'href="/customers"' not in few.get(path).text
        # The language is switched without losing the page, and one can still log out.
        assert f'href="{path}?language=es"' in missing.text
        assert few.post("/logout", data={"csrf": csrf_of(few.get("/nothing").text)}).status_code == 303
        few = world.client("classify")
    stranger = world.client(None).get("/nothing")
    assert stranger.status_code == 404
    assert "<nav" not in stranger.text
    assert world.state.now.digest[:8] not in stranger.text
    # What was posted is not there to be opened again in another language.
    assert "hreflang" not in many.post("/logout", data={"csrf": "forged"}).text


def test_a_model_is_called_by_as_many_characters_everywhere(world):
    text = world.client("customers").get("/").text
    digest = world.state.now.digest
    assert [len(one) for one in re.findall(rf"\b{digest[:6]}[0-9a-f]*", text)] == [12, 12]
    assert digest.startswith(re.findall(rf"\b{digest[:6]}[0-9a-f]*", text)[0])


@pytest.mark.parametrize("customer_id", STRANGE_IDS)
def test_the_switch_keeps_a_strange_id(hostile, customer_id):
    client = hostile.client("customers")
    page = client.get(f"/customers/{quote(customer_id, safe='')}").text
    link = html.unescape(re.search(r'<a href="([^"]*)" lang="es"', page).group(1))  # type: ignore[union-attr]
    assert f"Cliente {customer_id}" in visible(client.get(link).text)


def test_the_overview_has_the_figures_of_the_model(world):
    text = visible(world.client("classify").get("/?language=es").text)
    best = min(world.model.segments, key=lambda one: one.rank)
    assert f"{100 * best.share_monetary:.1f}".replace(".", ",") + " % de la facturación" in text
    assert "Ajustado al 1 de julio de 2024, con todo el histórico." in text
    assert "clientes 120 " in text
    for segment in world.model.segments:
        assert segment.name.es in text
        assert segment.description.es in text
    assert "Recencia (días), Frecuencia (pedidos), Facturación" in text


def test_a_refused_bundle_is_told_on_the_overview(tmp_path):
    world = make_world(tmp_path, people=False)
    client = world.client("classify")
    assert TEXTS["old_model"].en not in visible(client.get("/").text)
    (tmp_path / "bundle" / "centroids.npy").write_bytes(b"broken")
    assert world.state.reload() is False
    text = visible(client.get("/").text)
    assert TEXTS["old_model"].en in text
    assert "centroids.npy" in text


def test_a_segment_beside_everybody(world):
    segment = world.model.segments[2]
    text = visible(world.client("customers").get("/segments/seg-000002").text)
    everybody = world.customers["monetary"].mean()
    ratio = segment.means["monetary"] / everybody
    row = f"Revenue {segment.means['monetary']:,.2f} {segment.medians['monetary']:,.2f} {everybody:,.2f} {ratio:.1f}×"
    assert row in text
    assert "Spends 2.5 times the average" in text
    assert "Action 2." in text


def test_the_typical_customers_are_those_nearest_to_the_centre(world):
    import numpy as np

    matrix = world.model.spec.transform(world.customers).astype(np.float64)
    far = np.linalg.norm(matrix - world.model.centroids[1], axis=1)
    nearest = world.customers["customer_id"].to_numpy()[np.argsort(far)]
    client = world.client("customers")
    for path, count in (("/segments/seg-000001", 10), ("/customers?segment=seg-000001", 40)):
        page = client.get(path).text
        listed = [int(one) for one in re.findall(r'<a href="/customers/(\d+)">', page)]
        assert listed == nearest[:count].tolist()


@pytest.mark.parametrize("path", ["/segments/none", "/segments/%3Cscript%3E", "/customers?segment=none"])
def test_an_unknown_segment_is_a_page_that_says_so(world, path):
    answer = world.client("customers").get(path)
    assert answer.status_code == 404
    assert TEXTS["problem_404"].en in visible(answer.text)
    assert "<script>" not in answer.text.replace("<script src", "")


def test_no_name_breaks_out_of_its_place(hostile):
    client = hostile.client("customers")
    strange = quote(STRANGE_IDS[4], safe="")
    paths = [
        "/",
        "/classify",
        "/classify?example=seg-000000",
        "/customers",
        "/customers?segment=seg-000000",
        "/compare",
    ]
    paths += [f"/segments/seg-00000{one}" for one in range(3)] + [f"/customers/{strange}", "/customers/%3Cb%3Enobody"]
    for language in ("en", "es"):
        for path in paths:
            page = client.get(path, params={"language": language} if "?" not in path else None).text
            for start in re.findall(r"<(script|img|b)\b([^>]*)>", page):
                assert start[0] == "script"
                assert 'src="/static/' in start[1] or 'type="application/json"' in start[1]
            assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', page))
    first = client.get("/segments/seg-000000", params={"language": "en"}).text
    assert HOSTILE[0].en in visible(first)


def test_thirty_segments_each_have_their_mark(tmp_path):
    names = [Word(f"Segment number {one}", f"Segmento número {one}") for one in range(30)]
    world = make_world(tmp_path, k=30, ids=list(range(300)), names=names)
    client = world.client("customers")
    for path in ("/", "/classify?example=seg-000007", "/segments/seg-000029", "/customers/7"):
        answer = client.get(path)
        assert answer.status_code == 200
    page = client.get("/").text
    assert len(re.findall(r'<h3><a href="/segments/', page)) == 30
    assert len({colour for colour in PALETTE if colour in page}) == len(PALETTE)


def test_a_model_of_one_segment_and_nobody_at_hand(tmp_path):
    world = make_world(tmp_path, k=1, ids=list(range(50)), people=False)
    client = world.client("classify")
    assert client.get("/").status_code == 200
    form = {"csrf": csrf_of(client.get("/classify").text), **{f"value-{name}": "5" for name in world.model.spec.names}}
    text = visible(client.post("/classify", data=form).text)
    assert TEXTS["sure_alone"].en in text
    assert TEXTS["why_title"].en not in text


@pytest.mark.parametrize("name", FILES)
def test_static_files_travel_packed_and_are_kept(world, name):
    client = world.client(None)
    packed = client.get(address(name), headers={"accept-encoding": "gzip"})
    plain = client.get(address(name), headers={"accept-encoding": "identity"})
    assert packed.content == plain.content == static_file(name).content
    assert gzip.decompress(static_file(name).packed) == plain.content
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert "immutable" in plain.headers["cache-control"]
    assert plain.headers["content-type"].startswith("text/css" if name.endswith("css") else "text/javascript")
    again = client.get(address(name), headers={"if-none-match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "../pages.py",
        "%2e%2e/pages.py",
        "..%2fpages.py",
        "....//pages.py",
        "/etc/passwd",
        "pages.css/",
        "pages.css%00",
        "",
    ],
)
def test_nothing_else_is_under_static(world, path):
    answer = world.client(None).get(f"/static/{path}")
    assert answer.status_code in (404, 303)
    assert "import" not in answer.text


def test_pages_stay_out_of_caches_and_run_no_script_of_their_own(world):
    client = world.client("customers")
    for path in PAGES:
        answer = client.get(path)
        assert answer.headers["cache-control"] == "no-store"
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe-eval" not in policy
        for tag in re.findall(r"<script\b[^>]*>", answer.text):
            assert "src=" in tag or 'type="application/json"' in tag
        assert "javascript:" not in answer.text


@pytest.mark.parametrize("language", ["en", "es"])
def test_problems_are_pages_for_people_and_documents_for_machines(world, language):
    client = world.client("classify")
    page = client.get(f"/nothing/here?language={language}")
    assert page.status_code == 404
    assert getattr(TEXTS["problem_404"], language) in visible(page.text)
    assert getattr(TEXTS["problem_404_help"], language) in visible(page.text)
    document = client.get("/nothing/here", headers={"accept": "application/json"})
    assert document.headers["content-type"] == "application/problem+json"
    large = client.post(f"/classify?language={language}", data={"csrf": "x" * (LARGEST_FORM + 1)})
    assert large.status_code == 413
    assert getattr(TEXTS["problem_413"], language) in visible(large.text)
    wrong = client.post(f"/classify?language={language}", content=b"{}", headers={"content-type": "application/json"})
    assert wrong.status_code == 400
    many = client.post(f"/classify?language={language}", data={f"f{number}": "1" for number in range(400)})
    assert many.status_code == 400


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 418, 421, 422, 429, 500, 502, 503])
def test_every_status_has_its_words(status, language):
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})
    problem = Problem(status, detail="Told to machines.", headers={"Retry-After": "7"})
    answer = problem_page(request, problem, PageSettings(language=language))
    text = visible(bytes(answer.body).decode())
    title = TEXTS.get(f"problem_{status}", TEXTS["problem_500" if status > 500 else "problem_other"])
    advice = TEXTS.get(f"problem_{status}_help", TEXTS["problem_500_help"] if status >= 500 else None)
    assert getattr(title, language) in text
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "7")
    # The API speaks English; where we have words of our own, they stand instead.
    assert ("Told to machines." in text) is (advice is None)
    assert advice is None or getattr(advice, language) in text


def test_a_fault_of_ours_tells_nothing_of_itself(tmp_path, monkeypatch):
    world = make_world(tmp_path, people=False)

    def broken(*_: object) -> None:
        raise RuntimeError("secret 12345")

    monkeypatch.setattr(Atlas, "draw", broken)
    answer = world.client("classify").get("/?language=es")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert TEXTS["problem_500_help"].es in visible(answer.text)


def test_a_login_page_has_no_place_for_what_is_not_local():
    assert [local(path) for path in ("/a?b=c", "", "a", "/\nb", "///x")] == ["/a?b=c", "/", "/", "/", "/"]
