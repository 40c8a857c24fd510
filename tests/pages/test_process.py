"""The pages process as its supervisor and its door see it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.pages.conftest import ROOT, PagesProcess
from tests.pages.fake_api import FakeApi


def get(api: FakeApi, path: str) -> httpx.Response:
    """Ask the pages process itself, not through the door."""
    transport = httpx.HTTPTransport(uds=api.pages_socket)
    with httpx.Client(transport=transport, base_url="http://pages", timeout=10) as client:
        return client.get(path)


def test_nothing_that_belongs_to_other_processes_is_imported() -> None:
    code = "import json, sys, saccade.pages.app;print(json.dumps([m for m in sys.modules]))"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        check=True,
    ).stdout
    imported = set(json.loads(out))
    heavy = {"cv2", "onnxruntime", "onnx", "av", "numpy", "sqlalchemy", "torch"}
    floors = {f"saccade.{floor}" for floor in ("server", "cameras", "engine", "models", "storage")}
    assert imported & (heavy | floors) == set()


def test_the_login_page_needs_only_static_files(pages: PagesProcess, api: FakeApi) -> None:
    answer = get(api, "/login")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    urls = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert urls
    for url in urls:
        assert url.startswith("/_nicegui/")
        assert get(api, url).status_code == 200


def test_our_static_files_are_kept_by_the_browser_for_good(
    pages: PagesProcess, api: FakeApi
) -> None:
    url = next(
        u for u in re.findall(r'href="([^"]+)"', get(api, "/login").text) if "saccade.css" in u
    )
    assert "immutable" in get(api, url).headers["cache-control"]
    missing = get(api, url.replace("saccade.css", "other.css"))
    assert missing.status_code == 404
    assert "immutable" not in missing.headers.get("cache-control", "")


@pytest.mark.parametrize("path", ["/nothing", "/cameras/front-door", "/_nicegui/x"])
def test_an_unknown_address_leads_back(pages: PagesProcess, api: FakeApi, path: str) -> None:
    answer = get(api, path)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_a_page_is_sent_with_its_numbers_and_no_foreign_address(
    pages: PagesProcess, api: FakeApi
) -> None:
    text = get(api, "/").text
    assert "12,640" in text or "37,920" in text
    # The names of XML namespaces are no addresses anybody asks.
    urls = set(re.findall(r"https?://[^\s\"'<>\\)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert urls == set()


def test_a_page_is_sent_also_while_the_server_is_away(pages: PagesProcess, api: FakeApi) -> None:
    api.drop_feed()
    answer = get(api, "/models")
    assert answer.status_code == 200
    assert "Server not reachable since" in answer.text


def test_a_name_from_outside_cannot_become_markup(pages: PagesProcess, api: FakeApi) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    api.change(lambda a: a.state["cameras"]["kiosk"].update(name=evil))
    assert "<img src=x" not in get(api, "/cameras").text
    assert "<script>alert" not in get(api, "/cameras").text


def test_it_has_no_children_and_leaves_no_file(pages: PagesProcess, api: FakeApi) -> None:
    get(api, "/")
    children = Path(f"/proc/{pages.pid}/task/{pages.pid}/children").read_text()
    assert children == ""
    assert list(pages.cwd.iterdir()) == []


def test_it_ends_soon_when_it_is_told_to(pages: PagesProcess, api: FakeApi) -> None:
    get(api, "/")
    assert pages.end(signal.SIGTERM, within_s=4) == 0
    assert "Traceback" not in pages.log.read_text()
