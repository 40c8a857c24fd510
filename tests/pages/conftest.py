"""The real pages process and a real browser, once for all tests of this folder."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from saccade.pages.settings import PagesSettings
from tests.pages.fake_api import FakeApi

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Short times, so that nothing in a test waits for longer than it must.
SETTINGS = PagesSettings(
    auth_required=True,
    feed_linger_seconds=0.5,
    feed_backoff_initial_seconds=0.05,
    feed_backoff_max_seconds=0.2,
    feed_flush_seconds=0.05,
    events_page_size=20,
    events_kept=45,
)


class PagesProcess:
    """The real process, which can be killed and started again on the same socket."""

    def __init__(self, folder: Path, api: FakeApi) -> None:
        self.cwd = folder / "cwd"
        self.cwd.mkdir()
        self.log = folder / "pages.log"
        self._api = api

    def start(self) -> None:
        Path(self._api.pages_socket).unlink(missing_ok=True)
        # NiceGUI behaves differently when it thinks that it is under pytest itself.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        environment["PYTHONPATH"] = str(ROOT / "src")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("pages_process.py")),
                    self._api.pages_socket,
                    self._api.api_socket,
                    msgspec.json.encode(SETTINGS).decode(),
                ],
                cwd=self.cwd,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        # It says so when it listens; its end closes the pipe, which wakes us too.
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n", self.log.read_text()

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self, sign: int, *, within_s: float) -> int:
        """Send a signal, wait for the end, return the exit code."""
        pidfd = os.pidfd_open(self._process.pid)
        try:
            self._process.send_signal(sign)
            assert select.select([pidfd], [], [], within_s)[0], "it did not end in time"
        finally:
            os.close(pidfd)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait()

    def is_running(self) -> bool:
        return self._process.poll() is None


@pytest.fixture(scope="package")
def _api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeApi]:
    api = FakeApi(tmp_path_factory.mktemp("api"))
    api.start()
    yield api
    api.stop()


@pytest.fixture(scope="package")
def _pages(_api: FakeApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesProcess]:
    process = PagesProcess(tmp_path_factory.mktemp("pages"), _api)
    process.start()
    yield process
    if process.is_running():
        process.end(signal.SIGTERM, within_s=10)


@pytest.fixture
def api(_api: FakeApi) -> FakeApi:
    """The fake API server in its first state."""
    _api.reset()
    return _api


@pytest.fixture
def pages(_pages: PagesProcess, api: FakeApi) -> PagesProcess:
    """The real pages process, running."""
    if not _pages.is_running():
        _pages.start()
    return _pages


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield browser
        browser.close()


class Tab:
    """One page in a fresh browser profile, whose console is listened to."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.context = context
        self.origin = origin
        self.page: Page = context.new_page()
        self.page.set_default_timeout(8000)
        self.errors: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.foreign: list[str] = []
        self.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((origin, "data:", "blob:"))
                else self.foreign.append(request.url)
            ),
        )

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")

    def go(self, path: str) -> Page:
        """Open a path and wait until the page is connected to its process."""
        self.page.goto(self.origin + path)
        self.page.wait_for_function("window.did_handshake || document.getElementById('login')")
        return self.page


@pytest.fixture
def open_tab(pages: PagesProcess, api: FakeApi, browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Open tabs in profiles of their own; at the end none may have had an error in its console."""
    tabs: list[Tab] = []

    def open_one(*, width: int = 1280, height: int = 900, scheme: str = "light") -> Tab:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        tabs.append(Tab(context, api.origin))
        return tabs[-1]

    yield open_one
    errors = [error for tab in tabs for error in tab.errors]
    foreign = [url for tab in tabs for url in tab.foreign]
    for tab in tabs:
        tab.context.close()
    assert errors == []
    assert foreign == []


@pytest.fixture
def axe() -> str:
    """The source of axe-core: named by AXE_CORE, or installed with `npm install`."""
    path = Path(os.environ.get("AXE_CORE", ROOT / "node_modules" / "axe-core" / "axe.min.js"))
    if not path.is_file():
        pytest.skip("axe-core is not here: npm install --no-package-lock, or name it in AXE_CORE")
    return path.read_text()
