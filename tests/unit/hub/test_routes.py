"""Who may call what: every route is walked, and everyone who may not call it is tried at it."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import Mount, Route

from hub.node import HubNode
from hub.services import accounts
from hub.web.access import SESSION_COOKIE, FromDevice, Who, access_of
from hub.web.app import SECURITY_HEADERS, create_app
from sync import hop
from sync.nonce import answer_to
from sync.state import Role
from tests.hubkit import Device, seeded
from tickets.clock import FixedClock

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would like another client library, and works with this one
    from starlette.testclient import TestClient

BASE = "http://hub.test"
PASSWORD = "correct horse battery"


@pytest.fixture
def client(node: HubNode) -> Iterator[TestClient]:
    with TestClient(create_app(node), base_url=BASE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def session(node: HubNode) -> tuple[str, str]:
    """(cookie, csrf) of somebody who is signed in."""
    with node.write() as connection:
        accounts.add_account(connection, "office", PASSWORD, now=node.clock.now_utc())
        token = accounts.begin_session(connection, "office", now=node.clock.now_utc(), random_bytes=seeded(5))
        held = accounts.find_session(connection, token, now=node.clock.now_utc())
    assert held is not None
    return token, held.csrf


def routes(client: TestClient) -> list[Route]:
    """Those of the framework and our own lean ones, which carry the same mark."""
    return [route for route in _flat(client.app.routes) if isinstance(route, Route) and type(route) is not Mount]  # type: ignore[attr-defined]


def _flat(found: list[object]) -> Iterator[object]:
    for route in found:
        if hasattr(route, "original_router"):
            yield from _flat(route.original_router.routes)
        else:
            yield route


def path_of(route: Route) -> str:
    filled = {
        "language": "ja",
        "ticket": "00" * 10,
        "op": "00" * 16,
        "sha256": "00" * 32,
        "slot": "a-slot",
        "device": "00" * 16,
    }
    return re.sub(r"\{(\w+)\}", lambda found: filled.get(found[1], found[0]), route.path)


def calls(client: TestClient, who: Who) -> list[tuple[str, str, Route]]:
    return [
        (method, path_of(route), route)
        for route in routes(client)
        if access_of(route)[0].who is who
        for method in sorted(route.methods)
    ]


def signed(
    device: Device, method: str, path: str, body: bytes, *, key: object = None, claims: bytes | None = None
) -> dict[str, str]:
    message = hop.Message(method, BASE + path)
    hop.sign(
        message,
        body,
        device=claims or device.identity.device,
        key=key or device.state.identity_key(),  # type: ignore[arg-type]
        now=device.clock.now_utc(),
        nonce=answer_to(device.hub.node.nonces.current(device.clock.now_utc()), device.random_bytes(12)),
    )
    return dict(message.headers)


def test_every_route_says_who_may_call_it_and_there_is_no_other(client: TestClient) -> None:
    found = routes(client)
    assert len(found) >= 16
    for route in found:
        assert len(access_of(route)) == 1, f"{route.path} does not say who may call it"
    others = [route for route in _flat(client.app.routes) if not isinstance(route, Route)]  # type: ignore[attr-defined]
    assert [type(route) for route in others] == [Mount]
    assert {path for _, path, _ in calls(client, Who.ANYONE)} == {
        "/",
        "/sign-in",
        "/language/ja",
        "/v1/enrol",
        "/v1/openapi.json",
    }


def test_every_device_route_refuses_everyone_but_its_devices(
    client: TestClient, kiosk: Device, gate: Device, gate_b: Device, node: HubNode, session: tuple[str, str]
) -> None:
    found = calls(client, Who.DEVICE)
    assert len(found) == 12
    node.revoke(gate_b.identity.device)
    for method, path, route in found:
        body = b"" if method == "GET" else b"{}"

        def status(
            headers: dict[str, str], sent: bytes = body, *, method: str = method, path: str = path
        ) -> tuple[int, str]:
            answer = client.request(method, path, content=sent, headers=headers)
            return answer.status_code, answer.json().get("error", "")

        client.cookies.clear()
        assert status({}) == (401, "unsigned"), path
        client.cookies.set(SESSION_COOKIE, session[0])
        assert status({}) == (401, "unsigned"), "a person is not a device"
        client.cookies.clear()
        assert status(signed(kiosk, method, path, body, key=gate.state.identity_key())) == (401, "signature")
        assert status(signed(kiosk, method, path, body, claims=b"?" * 16)) == (401, "device_unknown")
        said = status(signed(gate_b, method, path, body))
        if path == "/v1/operations":
            assert said == (400, "message"), (
                "what a device that is shut out did is still taken, and kept without effect"
            )
        else:
            assert said == (401, "revoked"), path
        once = signed(kiosk, method, path, body)
        first = status(once)
        assert status(once) == (401, "replayed")
        assert status(signed(kiosk, method, path, body), b"[]") == (401, "signature")
        marker = access_of(route)[0]
        assert isinstance(marker, FromDevice)
        for device in (kiosk, gate):
            code, error = status(signed(device, method, path, body))
            if device.identity.role in marker.roles:
                assert (code, error) in ((200, ""), (400, "message"), (404, "snapshot_gone")), (path, code, error)
            else:
                assert (code, error) == (403, "not_allowed")
        assert first[0] in (200, 400, 403, 404)


def test_every_office_route_refuses_whoever_is_not_signed_in(
    client: TestClient, kiosk: Device, session: tuple[str, str], clock: FixedClock
) -> None:
    found = calls(client, Who.OFFICE)
    assert {path for _, path, _ in found} == {
        "/today",
        "/find",
        "/sign-out",
        f"/tickets/{'00' * 10}",
        f"/tickets/{'00' * 10}/cancel",
        "/stock",
        "/stock/a-slot",
        "/stock/a-slot/capacity",
        "/stock/a-slot/cancel",
        f"/stock/a-slot/take-back/{'00' * 16}",
        "/operations",
        f"/operations/{'00' * 16}/settle",
        f"/operations/{'00' * 16}/retry",
    }
    cookie, csrf = session
    for method, path, _ in found:
        client.cookies.clear()
        expected = 303 if method == "GET" else 401
        answer = client.request(method, path)
        assert answer.status_code == expected
        assert answer.headers.get("location", "/sign-in") == "/sign-in"
        assert client.request(method, path, headers=signed(kiosk, method, path, b"")).status_code == expected, (
            "a device is no person"
        )
        client.cookies.set(SESSION_COOKIE, "made up")
        assert client.request(method, path).status_code == expected
        client.cookies.set(SESSION_COOKIE, cookie)
        if method == "POST":
            for form in ({}, {"csrf": "x"}, {"csrf": csrf[:-1]}):
                assert client.post(path, data=form).status_code == 403, "a form without its token"
            assert client.post(path, data={"csrf": csrf}, headers={"Origin": "http://evil.test"}).status_code == 403
    clock.now += accounts.SESSION_LIFE
    assert client.get("/today").status_code == 303, "sessions end"


def test_every_answer_has_the_headers(client: TestClient, session: tuple[str, str]) -> None:
    client.cookies.set(SESSION_COOKIE, session[0])
    for path in ("/", "/sign-in", "/today", "/static/office.css", "/v1/changes", "/nowhere", f"/tickets/{'00' * 10}"):
        answer = client.get(path)
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert answer.headers["kaisatsu-time"].isdigit()
        assert "<script" not in answer.text
        assert "style=" not in answer.text, "the policy would not let it through"


def test_signing_in(client: TestClient, session: tuple[str, str], clock: FixedClock) -> None:
    good = {"name": "office", "password": PASSWORD}
    answer = client.post("/sign-in", data=good)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/today").status_code == 200
    csrf = re.search(r'name="csrf" value="([^"]+)"', client.get("/today").text)[1]  # type: ignore[index]
    assert client.post("/sign-out", data={"csrf": csrf}).status_code == 303
    assert client.get("/today").status_code == 303
    assert client.post("/sign-in", data=good, headers={"Origin": "http://evil.test"}).status_code == 403


def test_guessing_is_limited_by_name_and_by_address(
    client: TestClient, session: tuple[str, str], clock: FixedClock
) -> None:
    for _ in range(5):
        assert client.post("/sign-in", data={"name": "office", "password": "wrong"}).status_code == 401
    right = {"name": "office", "password": PASSWORD}
    assert client.post("/sign-in", data=right).status_code == 429
    assert client.post("/sign-in", data={"name": "somebody else", "password": "x"}).status_code == 429
    clock.elapsed_s += 61
    assert client.post("/sign-in", data=right).status_code == 303


def test_a_body_beyond_the_limit_is_not_read_to_its_end(client: TestClient) -> None:
    answer = client.post("/v1/enrol", content=b"x" * (1024 * 1024 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"] == "too_large"


def test_nonsense_is_refused_in_the_protocols_words(client: TestClient, kiosk: Device) -> None:
    for query in ("?wait=x", "?wait=-1", "?wait=nan", "?limit=many", "?cursor=%25"):
        path = "/v1/changes" + query
        answer = client.get(path, headers=signed(kiosk, "GET", path, b""))
        assert (answer.status_code, answer.json()["error"]) == (400, "message"), query


def test_cancelling_on_the_page_reaches_the_feed(
    client: TestClient, kiosk: Device, node: HubNode, session: tuple[str, str]
) -> None:
    from sync.upload import Uploader

    kiosk.append(kiosk.sale(count=2))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()
    ticket = kiosk.sold[0].ticket
    cookie, csrf = session
    client.cookies.set(SESSION_COOKIE, cookie)
    cursor = node.changes(None, rows_max=1000).cursor
    path = f"/tickets/{ticket}/cancel"
    assert client.post(path, data={"csrf": csrf, "reason": "  "}).status_code == 400
    assert client.post(path, data={"csrf": csrf, "reason": "お客さまのご都合 <b>"}).status_code == 303
    (changed,) = node.changes(cursor, rows_max=1000).tables
    assert [row["state"] for row in changed.as_mappings() if row["ticket"] == ticket] == ["cancelled"]
    page = client.get(f"/tickets/{ticket}").text
    assert "取消済み" in page
    assert "&lt;b&gt;" in page
    assert client.post(path, data={"csrf": csrf, "reason": "again"}).status_code == 400
    found = client.get("/find?digits=" + kiosk.sold[1].short_id)
    assert found.headers["location"] == f"/tickets/{kiosk.sold[1].ticket}"


def test_today_shows_what_was_sold_and_admitted(
    client: TestClient, kiosk: Device, gate: Device, session: tuple[str, str]
) -> None:
    from sync.operation import Refusal
    from sync.upload import Uploader
    from tickets.admission import Reason

    kiosk.append(kiosk.sale(count=2))
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step()
    ticket = kiosk.sold[0].ticket
    gate.append(gate.admission(ticket), gate.admission(ticket))
    gate.append(
        Refusal(
            gate.random_bytes(16).hex(), gate.clock.now_utc().isoformat(), ticket, Reason.ALREADY_USED, "A", "A-0001"
        )
    )
    Uploader(gate.journal, gate.state, gate.hub, clock=gate.clock).step()
    client.cookies.set(SESSION_COOKIE, session[0])
    page = client.get("/today").text
    for text in (
        "K2-1123-0001",
        "3,600円",
        "入園券　大人&nbsp;×&nbsp;2",
        "ゲート A",
        "A-0001",
        "使用済み",
        "二重入場の疑い",
        "カード",
    ):
        assert text in page, text
    english = client.get("/today", headers={"Accept-Language": "en-GB"}).text
    for text in ("¥3,600", "Park admission Adult&nbsp;×&nbsp;2", "Possible double entry"):
        assert text in english, text
    assert json.dumps(page).count("541333") == 0, "no card data on the page"


def test_before_the_first_venue_there_is_still_a_page(tmp_path: Path, clock: FixedClock) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from hub.database import open_database

    node = HubNode(
        open_database(f"sqlite:///{tmp_path / 'new.db'}"),
        Ed25519PrivateKey.generate(),
        clock=clock,
        random_bytes=seeded(1),
    )
    with node.write() as connection:
        accounts.add_account(connection, "office", PASSWORD, now=clock.now_utc())
        token = accounts.begin_session(connection, "office", now=clock.now_utc(), random_bytes=seeded(5))
    with TestClient(create_app(node), base_url=BASE) as client:
        client.cookies.set(SESSION_COOKIE, token)
        assert "施設がまだ登録されていません" in client.get("/today").text


def test_roles_are_spelled_out() -> None:
    assert FromDevice(Role.GATE).roles == (Role.GATE,)
    assert set(FromDevice().roles) == set(Role)
