from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import OutputExistsError, SettingError, SourceNotFoundError
from engine.serving import access as access_module
from engine.serving.access import SESSION_COOKIE, SESSION_SECONDS, Access, Principal, cookie_of
from engine.serving.problems import Problem
from engine.serving.tokens import ROLES, TokenRecord, digest, issue, read_tokens

TODAY = date(2026, 11, 1)


def asking(
    token: str | None = None, session: str | None = None, *, raw: list[tuple[bytes, bytes]] | None = None
) -> Any:
    headers = list(raw or [])
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if session is not None:
        headers.append((b"cookie", f"other=1; {SESSION_COOKIE}={session}".encode()))
    return SimpleNamespace(scope={"type": "http", "headers": headers})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time that stands until it is moved."""
    hand = SimpleNamespace(now=1_000_000.0)
    fake = SimpleNamespace(time=lambda: hand.now, monotonic=lambda: hand.now)
    monkeypatch.setattr(access_module, "time", fake)
    return hand


def holding(*pairs: tuple[str, str], **options: Any) -> Access:
    return Access(
        [TokenRecord(f"{role}-{token}", role, digest(token), "2026-01-01") for token, role in pairs], **options
    )


def test_a_token_is_issued_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "new" / "tokens"
    first = issue(file, "till", "classify", today=TODAY)
    second = issue(file, "crm", "customers", today=TODAY)
    assert first != second
    assert len(first) == 43  # 256 bits in base64
    text = file.read_text()
    assert first not in text
    assert second not in text
    assert file.stat().st_mode & 0o777 == 0o600
    records, bad = read_tokens(file)
    assert not bad
    assert [(r.name, r.role, r.created, r.sha256) for r in records] == [
        ("till", "classify", "2026-11-01", digest(first)),
        ("crm", "customers", "2026-11-01", digest(second)),
    ]


def test_a_name_is_given_once_and_a_strange_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    issue(file, "till", "classify", today=TODAY)
    with pytest.raises(SettingError, match="has a token of that name"):
        issue(file, "till", "admin", today=TODAY)
    with pytest.raises(SettingError, match=r"token\.role: expected one of classify"):
        issue(file, "x", "root", today=TODAY)
    with pytest.raises(SettingError, match=r"token\.name"):
        issue(file, " ", "admin", today=TODAY)
    other = tmp_path / "notes.txt"
    other.write_text("shopping\n")
    with pytest.raises(OutputExistsError, match="line 1"):
        issue(other, "till", "classify", today=TODAY)
    assert other.read_text() == "shopping\n"
    with pytest.raises(SourceNotFoundError, match="action=token"):
        read_tokens(tmp_path / "none")


def test_a_file_without_its_last_line_end_is_not_spoilt(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    issue(file, "a", "classify", today=TODAY)
    file.write_text(file.read_text().rstrip("\n"))
    issue(file, "b", "admin", today=TODAY)
    assert [r.name for r in read_tokens(file)[0]] == ["a", "b"]


def test_roles_include_those_before_them() -> None:
    for high, role in enumerate(ROLES):
        assert [Principal("x", role).may(other) for other in ROLES] == [low <= high for low in range(3)]


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (b"Bearer good", True),
        (b"bearer   good ", True),
        (b"Bearer", False),
        (b"Bearer goo", False),
        (b"Bearer good good", False),
        (b"Basic good", False),
        (b"good", False),
        (b"\xff\xfe", False),
    ],
)
def test_the_authorization_header(header: bytes, known: bool) -> None:
    access = holding(("good", "admin"))
    found = access.of_request(asking(raw=[(b"authorization", header)]))
    assert (found is not None) == known


def test_every_valid_token_is_found_whatever_its_place() -> None:
    access = holding(*((f"t{i}", ROLES[i % 3]) for i in range(30)))
    for i in range(30):
        assert access.of_request(asking(f"t{i}")) == Principal(f"{ROLES[i % 3]}-t{i}", ROLES[i % 3])
    assert access.of_request(asking("t30")) is None
    assert access.of_request(asking("")) is None


def test_require_tells_401_from_403() -> None:
    access = holding(("low", "classify"))
    assert access.require(asking("low").scope, "classify").role == "classify"
    with pytest.raises(Problem) as nobody:
        access.require(asking().scope, "classify")
    assert nobody.value.status == 401
    assert nobody.value.headers["WWW-Authenticate"].startswith("Bearer")
    with pytest.raises(Problem) as low:
        access.require(asking("low").scope, "customers")
    assert low.value.status == 403


def test_a_removed_line_revokes_the_token_and_its_session(tmp_path: Path, clock: SimpleNamespace) -> None:
    file = tmp_path / "tokens"
    kept, gone = (issue(file, name, "customers", today=TODAY) for name in ("kept", "gone"))
    access = Access(file=file)
    session = access.log_in(gone)
    assert session is not None
    assert access.of_request(asking(session=session)) == Principal("gone", "customers")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if json.loads(line)["name"] != "gone"))
    clock.now += access_module.REREAD_SECONDS
    assert access.of_request(asking(gone)) is None
    assert access.of_request(asking(session=session)) is None
    assert access.log_in(gone) is None
    assert access.of_request(asking(kept)) == Principal("kept", "customers")


def test_a_role_that_is_changed_in_the_file_changes_the_session(tmp_path: Path, clock: SimpleNamespace) -> None:
    file = tmp_path / "tokens"
    access_token = issue(file, "a", "customers", today=TODAY)
    access = Access(file=file)
    session = access.log_in(access_token)
    file.write_text(file.read_text().replace('"customers"', '"classify"'))
    clock.now += access_module.REREAD_SECONDS
    assert access.of_request(asking(session=session)) == Principal("a", "classify")


def test_a_broken_line_is_passed_over_and_a_missing_file_lets_nobody_in(
    tmp_path: Path, clock: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    token = issue(file, "a", "customers", today=TODAY)
    access = Access([TokenRecord("held", "admin", digest("held"), "2026-01-01")], file=file)
    file.write_text('{"name": "x"}\nnonsense\n' + file.read_text())
    clock.now += access_module.REREAD_SECONDS
    assert access.principal(token) is not None
    assert "line 1" in caplog.text
    assert "line 2" in caplog.text
    file.unlink()
    clock.now += access_module.REREAD_SECONDS
    assert access.principal(token) is None
    assert access.principal("held") is not None


def test_a_session_ends_with_its_time_and_with_a_log_out(clock: SimpleNamespace) -> None:
    access = holding(("t", "customers"))
    session, other = access.log_in("t"), access.log_in(" t ")
    assert session
    assert other
    assert session != other
    assert "t." not in session.split(".")[0]
    assert access.of_request(asking(session=session)) is not None
    access.log_out(asking(session=session))
    assert access.of_request(asking(session=session)) is None
    assert access.of_request(asking(session=other)) is not None
    clock.now += SESSION_SECONDS - 1
    assert access.of_request(asking(session=other)) is not None
    clock.now += 2
    assert access.of_request(asking(session=other)) is None


def test_a_forged_session_is_none() -> None:
    access = holding(("t", "customers"))
    session = access.log_in("t")
    assert session
    # Every single changed sign must be noticed.
    for place in range(len(session)):
        changed = session[:place] + ("0" if session[place] != "0" else "1") + session[place + 1 :]
        assert access.of_request(asking(session=changed)) is None
    for forged in ("", ".", "...", "x" * 500, "é", session + "x", session.rpartition(".")[0]):
        assert access.of_request(asking(session=forged)) is None
    # Another server's key signs nothing here.
    assert holding(("t", "customers")).of_request(asking(session=session)) is None


def test_workers_with_one_key_know_each_other_s_sessions() -> None:
    first, second = (holding(("t", "customers"), key=b"k" * 32) for _ in range(2))
    session = first.log_in("t")
    assert second.of_request(asking(session=session)) is not None
    assert second.check_csrf(asking(session=session), first.csrf(asking(session=session)))


def test_a_form_belongs_to_its_session() -> None:
    access = holding(("t", "customers"))
    one, two = (asking(session=access.log_in("t")) for _ in range(2))
    assert access.check_csrf(one, access.csrf(one))
    assert not access.check_csrf(one, access.csrf(two))
    assert not access.check_csrf(one, "")
    assert not access.check_csrf(one, "é\ud800")
    assert not access.check_csrf(one, access.csrf(asking()))
    assert access.check_csrf(asking(), access.csrf(asking()))


def test_a_bearer_token_stands_above_a_session() -> None:
    access = holding(("low", "classify"), ("high", "admin"))
    both = asking("low", access.log_in("high"))
    assert access.of_request(both) == Principal("classify-low", "classify")
    # A wrong token is not rescued by a cookie.
    assert access.of_request(asking("wrong", access.log_in("high"))) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites() -> None:
    for secure in (False, True):
        cookie = holding(("t", "classify"), secure=secure).cookie("x")
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "strict", secure)


def test_cookies_are_read_as_sent() -> None:
    def read(*lines: bytes) -> str | None:
        return cookie_of([(b"host", b"a=9"), *((b"cookie", line) for line in lines)], "a")

    assert read(b"b=2;  a=1 ;c=3") == "1"
    assert read(b"a=x=y") == "x=y"
    assert read(b"a=1; a=2", b"b=1") == "2"
    # Nothing is unquoted: that is where the library's time goes.
    assert read(b'a="\\073\\"x"') == '"\\073\\"x"'
    for line in (b"", b"a", b"aa=1", b"ba=1", b";;=;", b"A=1"):
        assert read(line) is None


def test_a_long_cookie_header_is_no_cookie() -> None:
    access = holding(("t", "customers"))
    session = access.log_in("t")
    assert session
    for extra, known in ((0, True), (1, False)):
        line = f"{SESSION_COOKIE}={session}; x=".encode()
        line = line.ljust(access_module.LONGEST_COOKIES + extra, b"\\")
        assert (access.of_request(asking(raw=[(b"cookie", line)])) is not None) == known


def test_two_authorization_headers_name_nobody() -> None:
    access = holding(("good", "admin"))
    for pair in ((b"Bearer good", b"Bearer good"), (b"Basic x", b"Bearer good"), (b"", b"Bearer good")):
        assert access.of_request(asking(raw=[(b"authorization", value) for value in pair])) is None
