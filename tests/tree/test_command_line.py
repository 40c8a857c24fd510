"""The command line beside a running server, and what leaves the server: webhooks, metrics, SQL."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from saccade.demo.assets import demo_model_path
from tests.services.postgres import PostgresServer, postgres_server
from tests.support.tree import Tree, call_cli, free_port, run_cli, running, until

pytestmark = pytest.mark.tree


def test_cameras_and_models_are_added_to_a_running_server(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "saccade.yaml").write_text(json.dumps({"server": {"pages": False}}))
    with running(tmp_path, {"server": {"pages": False}}, ready=False) as tree:
        until(tree.answers, 30)
        added = run_cli(
            "models",
            "add",
            str(demo_model_path()),
            "--name",
            "kiosk",
            "--data",
            "data",
            cwd=tmp_path,
        )
        assert "has taken it in" in added.stdout, added.stdout + added.stderr
        tree.wait_ready()
        added = run_cli(
            "cameras", "add", "belt", str(clip), "--loop", "--data", "data", cwd=tmp_path
        )
        assert "has taken it in" in added.stdout, added.stdout + added.stderr
        tree.wait_served("belt", 3)
        again = run_cli("cameras", "add", "belt", str(clip), "--data", "data", cwd=tmp_path)
        assert again.returncode == 2
        listed = run_cli("cameras", "list", "--json", "--data", "data", cwd=tmp_path)
        assert [c["id"] for c in json.loads(listed.stdout)] == ["belt"]
        removed = run_cli("cameras", "remove", "belt", "--data", "data", cwd=tmp_path)
        assert removed.returncode == 0
        until(lambda: not tree.camera("belt"), 10)
        removed = run_cli("models", "remove", "kiosk", "--data", "data", cwd=tmp_path)
        assert removed.returncode == 0
        until(lambda: tree.get("/readyz").status_code == 503, 10)
    assert not list((tmp_path / "data" / "models").iterdir())


def test_a_camera_with_a_password_never_shows_it(tmp_path: Path) -> None:
    url = "rtsp://admin:hunter2@127.0.0.1:1/x"
    added = call_cli("cameras", "add", "front", url, "--data", "data", cwd=tmp_path)
    listed = call_cli("cameras", "list", "--data", "data", cwd=tmp_path)
    assert added.returncode == 0
    assert "hunter2" not in added.stdout + added.stderr + listed.stdout
    assert "admin:***@" in added.stdout


def test_a_pull_without_a_network_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").write_text(
        json.dumps({"catalogue": {"mirror": f"http://127.0.0.1:{free_port()}"}})
    )
    names = json.loads(call_cli("models", "catalogue", "--json", cwd=tmp_path).stdout)
    said = call_cli("models", "pull", names[0]["name"], "--data", "data", cwd=tmp_path)
    assert said.returncode == 2
    assert len(said.stderr.strip().splitlines()) == 1
    assert "127.0.0.1" in said.stderr


@pytest.mark.parametrize(
    "command",
    [
        "init",
        "check",
        "up",
        "demo",
        "detect",
        "schema",
        "settings show",
        "cameras add",
        "cameras list",
        "cameras remove",
        "models add",
        "models list",
        "models pull",
        "models catalogue",
        "models remove",
        "keys create",
        "keys list",
        "keys revoke",
    ],
)
def test_every_command_explains_itself_with_an_example(tmp_path: Path, command: str) -> None:
    said = call_cli(*command.split(), "--help", cwd=tmp_path)
    assert said.returncode == 0
    assert f"saccade {command}" in said.stdout.split("Example:")[1]


class Receiver(BaseHTTPRequestHandler):
    """A webhook's other end; refuses until it is told not to."""

    refuses = threading.Event()
    received: list[dict[str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        is_down = self.refuses.is_set()
        if not is_down:
            self.received.append({**json.loads(body), "webhook-id": self.headers["webhook-id"]})
        self.send_response(503 if is_down else 204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.received.clear()
    Receiver.refuses.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()
    thread.join()


def test_events_reach_a_webhook_that_was_down_each_of_them_once(
    tmp_path: Path, kiosk: dict[str, Any], receiver: str
) -> None:
    hook = {"url": receiver, "kinds": ["object_appeared"]}
    with running(tmp_path, {**kiosk, "webhooks": {"office": hook}}) as tree:
        until(lambda: len(tree.events(kind="object_appeared")) >= 3, 40, "three events")
        assert Receiver.received == []
        tree.kill("worker")  # what it had leased is owed still
        Receiver.refuses.clear()
        until(lambda: len(Receiver.received) >= 3, 40, "they arrive")
        known = {e["id"] for e in tree.events(kind="object_appeared", limit=1000)}
        until(lambda: known <= {r["id"] for r in Receiver.received}, 40, "every one arrives")
        ids = [r["webhook-id"] for r in Receiver.received]
        assert len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    yield from postgres_server()


@pytest.mark.services
def test_the_same_server_stores_its_events_in_postgresql(
    tmp_path: Path, kiosk: dict[str, Any], postgres: PostgresServer
) -> None:
    with postgres.database() as url:
        settings = {**kiosk, "storage": {"url": url}}
        with running(tmp_path, settings) as tree:
            until(lambda: tree.events(kind="object_appeared"), 40, "an event")
            assert "postgresql" in tree.get("/api/environment").json()["storage"]
            body = {"id": "three", "source": kiosk["cameras"]["one"]["source"], "loop": True}
            assert tree.post("/api/cameras", json=body).status_code == 201
            tree.wait_served("three", 1)
        assert not (tmp_path / "data" / "saccade.db").exists()


@pytest.mark.services
def test_a_real_prometheus_scrapes_the_server(tmp_path: Path, demo: Tree) -> None:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus: tools/install-test-tools.sh installs it as root")
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "saccade",
                        "static_configs": [{"targets": [f"127.0.0.1:{demo.port}"]}],
                    }
                ],
            }
        )
    )
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/db",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    query = f"http://127.0.0.1:{port}/api/v1/query"

    def value(expression: str) -> float | None:
        try:
            found = httpx.get(query, params={"query": expression}).json()["data"]["result"]
        except (httpx.HTTPError, KeyError):
            return None
        return float(found[0]["value"][1]) if found else None

    try:
        until(lambda: value("up") == 1, 30, "a scrape")
        assert value("saccade_ready") == 1
        until(lambda: (value("sum(rate(saccade_frames_served_total[5s]))") or 0) > 5, 30, "rates")
    finally:
        process.terminate()
        process.wait(10)
