"""Who may come in: keys away from loopback, Host and Origin everywhere."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.support.tree import Tree, run_cli, running, until

pytestmark = pytest.mark.tree


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, kiosk: dict[str, Any]) -> Iterator[Tree]:
    """A server that others can reach, with one key called `office`."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = {**kiosk, "server": {"pages": True, "host": "0.0.0.0"}}
    (folder / "saccade.yaml").write_text(json.dumps(settings))
    made = run_cli("keys", "create", "office", "--json", "--data", "data", cwd=folder)
    assert made.returncode == 0, made.stderr
    with running(folder, settings, ready=False) as tree:
        tree.client.headers["x-api-key"] = json.loads(made.stdout)["secret"]
        tree.wait_ready()
        yield tree


def without_key(tree: Tree, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=tree.url, timeout=10, headers=headers)


def test_a_server_that_others_can_reach_does_not_start_without_a_key(
    tmp_path: Path, kiosk: dict[str, Any]
) -> None:
    settings = {**kiosk, "server": {"pages": False, "host": "0.0.0.0"}}
    (tmp_path / "saccade.yaml").write_text(json.dumps(settings))
    said = run_cli("up", "--data", "data", cwd=tmp_path)
    assert said.returncode == 2
    assert len(said.stderr.strip().splitlines()) == 1
    assert "saccade keys create" in said.stderr


def test_probes_need_no_key(guarded: Tree) -> None:
    with without_key(guarded) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 200


def test_a_client_of_the_open_inference_protocol_reads_why_it_needs_one(guarded: Tree) -> None:
    with without_key(guarded) as client:
        answer = client.post("/v2/models/kiosk/infer", content=b"{}")
        assert answer.status_code == 401
        assert "API key" in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/state",
        "/metrics",
        "/stream/one",
        "/docs",
        "/api/keys",
        "/v2",
        "/v2/models/kiosk",
        "/v2/models/kiosk/ready",
    ],
)
def test_everything_else_needs_one(guarded: Tree, path: str) -> None:
    with without_key(guarded) as client:
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_is_taken_as_a_header_or_as_bearer(guarded: Tree) -> None:
    key = guarded.client.headers["x-api-key"]
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
        with without_key(guarded, **headers) as client:
            assert client.get("/api/state").status_code == 200


def test_a_wrong_key_is_refused_and_says_so(guarded: Tree) -> None:
    with without_key(guarded, **{"x-api-key": "sk_" + "a" * 43}) as client:
        answer = client.get("/api/state")
        assert answer.status_code == 401
        assert "wrong or was revoked" in answer.json()["detail"]


def test_a_browser_without_a_session_is_led_to_the_login_page(guarded: Tree) -> None:
    with without_key(guarded, accept="text/html") as client:
        answer = client.get("/")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?next=/"
        page = client.get("/login")
        assert page.status_code == 200
        assert "key" in page.text.lower()


def test_a_key_opens_a_session_that_logging_out_ends(guarded: Tree) -> None:
    with without_key(guarded) as client:
        wrong = client.post("/api/session", json={"key": "sk_nothing"})
        assert wrong.status_code == 401
        opened = client.post("/api/session", json={"key": guarded.client.headers["x-api-key"]})
        assert opened.status_code == 200
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/state").status_code == 200
        token = client.cookies["saccade_session"]
        assert client.delete("/api/session").status_code == 204
        with without_key(guarded, cookie=f"saccade_session={token}") as later:
            assert later.get("/api/state").status_code == 401


def test_a_revoked_key_ends_its_sessions(guarded: Tree) -> None:
    made = guarded.post("/api/keys", json={"name": "guest"}).json()
    with without_key(guarded) as client:
        assert client.post("/api/session", json={"key": made["secret"]}).status_code == 200
        assert client.get("/api/state").status_code == 200
        assert guarded.client.delete(f"/api/keys/{made['id']}").status_code == 204
        assert client.get("/api/state").status_code == 401
    with without_key(guarded, **{"x-api-key": made["secret"]}) as client:
        assert client.get("/api/state").status_code == 401


def test_a_websocket_ends_when_its_key_is_revoked(guarded: Tree) -> None:
    made = guarded.post("/api/keys", json={"name": "visitor"}).json()
    headers = {"x-api-key": made["secret"]}
    with connect(f"ws://127.0.0.1:{guarded.port}/ws", additional_headers=headers) as socket:
        socket.recv(timeout=5)
        assert guarded.client.delete(f"/api/keys/{made['id']}").status_code == 204
        with pytest.raises(ConnectionClosed) as ended:
            deque(iter(partial(socket.recv, timeout=10), None))
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 4401


def test_a_secret_is_nowhere_but_in_the_answer_that_made_it(guarded: Tree) -> None:
    secret = guarded.client.headers["x-api-key"]
    assert secret not in guarded.get("/api/keys").text
    for path in guarded.data.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_websockets_need_a_key_too(guarded: Tree) -> None:
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(f"ws://127.0.0.1:{guarded.port}/ws") as socket,
    ):
        socket.recv(timeout=5)
    headers = {"x-api-key": guarded.client.headers["x-api-key"]}
    with connect(f"ws://127.0.0.1:{guarded.port}/ws", additional_headers=headers) as socket:
        assert json.loads(socket.recv(timeout=5))["type"] == "state_update"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example"])
def test_a_name_that_is_rebound_to_loopback_is_refused(demo: Tree, host: str) -> None:
    answer = demo.get("/api/state", headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_the_names_of_loopback_are_ours(demo: Tree, host: str) -> None:
    assert demo.get("/livez", headers={"host": f"{host}:{demo.port}"}).status_code == 200


def test_another_sites_page_can_neither_write_nor_open_a_websocket(demo: Tree) -> None:
    body = {"id": "x", "source": "/tmp"}
    crossed = demo.post("/api/cameras", json=body, headers={"origin": "https://evil.example"})
    assert crossed.status_code == 403
    marked = demo.post("/api/cameras", json=body, headers={"sec-fetch-site": "cross-site"})
    assert marked.status_code == 403
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(f"ws://127.0.0.1:{demo.port}/ws", origin=Origin("https://evil.example")) as socket,
    ):
        socket.recv(timeout=5)


def test_our_own_pages_origin_may(demo: Tree) -> None:
    ours = f"http://127.0.0.1:{demo.port}"
    with connect(f"ws://127.0.0.1:{demo.port}/ws", origin=Origin(ours)) as socket:
        socket.recv(timeout=5)
    until(lambda: demo.get("/livez").status_code == 200, 5)
