"""Takes the pictures of the documents from the running demo: `tools/screenshots.py docs/images`."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync")
#: Every tile is drawn, and something is seen on each camera.
WALL_IS_LIVE: Final = """() => {
  const cameras = [...document.querySelectorAll('[data-camera]')];
  return cameras.length > 1 && cameras.every((camera) =>
    camera.querySelector('saccade-tile')?.dataset.seq > 0
    && camera.querySelector('.objects')?.textContent.trim());
}"""
#: The server was heard, and rates were measured over some seconds.
NUMBERS_ARE_THERE: Final = """() => {
  const title = document.querySelector('#health-title')?.textContent ?? '';
  const figures = document.querySelector('.figures')?.textContent ?? '—';
  return title && !title.startsWith('Waiting') && !figures.includes('—');
}"""
#: Frames the first camera has had answered before anybody looks, so that the numbers say something.
SERVED_LEAST: Final = 60
START_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture.

    Args:
        name: of the file, without its ending.
        path: of the page.
        width, height: of the window, in pixels.
        scheme: light or dark.
        whole: the page down to its end, not only the window.
    """

    name: str
    path: str
    width: int
    height: int
    scheme: str = "light"
    whole: bool = False


SHOTS: Final = (
    Shot("wall", "/cameras", 900, 500),
    Shot("overview", "/", 1280, 900),
    Shot("overview-dark", "/", 1280, 900, scheme="dark"),
    Shot("phone", "/", 390, 844),
)


def main(arguments: list[str]) -> int:
    """Take all pictures into the folder that is named; return the exit status."""
    if len(arguments) != 2:
        print("usage: tools/screenshots.py FOLDER", file=sys.stderr)
        return 2
    if CHROMIUM is None:
        print("there is no Chromium: apt install chromium", file=sys.stderr)
        return 1
    folder = Path(arguments[1])
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_ARGS))
        for shot in SHOTS:
            path = folder / f"{shot.name}.png"
            path.write_bytes(small(take(browser, url, shot)))
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()
    return 0


@contextlib.contextmanager
def demo() -> Iterator[str]:
    """Run the demo on a free port in a folder of its own; give its URL once it has numbers."""
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SACCADE_")}
    environment["PYTHONPATH"] = str(ROOT / "src")
    with tempfile.TemporaryDirectory(prefix="saccade-pictures-") as folder:
        command = [sys.executable, "-m", "saccade", "demo", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--data", f"{folder}/data"],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for_numbers(process, url)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(15)


def wait_for_numbers(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the demo's first camera has had enough frames answered."""
    pidfd = os.pidfd_open(process.pid)
    deadline = time.monotonic() + START_S
    try:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                state = httpx.get(f"{url}/api/state", timeout=5.0, trust_env=False).json()
                if state["cameras"]["intake"]["served"] >= SERVED_LEAST:
                    return
            if select.select([pidfd], [], [], 0.3)[0]:
                raise RuntimeError(f"the demo ended with status {process.wait()}")
    finally:
        os.close(pidfd)
    raise TimeoutError(f"the demo showed nothing in {START_S:.0f} s")


def free_port() -> int:
    """Return a port nobody uses right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def take(browser: Browser, url: str, shot: Shot) -> bytes:
    """Return a PNG of one page, with live pictures and numbers on it."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(url + shot.path)
    wait_until_live(page, shot.path)
    content = page.screenshot(full_page=shot.whole)
    context.close()
    return content


def wait_until_live(page: Page, path: str) -> None:
    """Return when the page shows what is, not what will be."""
    page.wait_for_function(WALL_IS_LIVE if path == "/cameras" else NUMBERS_ARE_THERE)
    page.evaluate("document.fonts.ready")


def small(png: bytes) -> bytes:
    """Return the picture with at most 256 colours where Pillow is installed, else as it is."""
    try:
        from PIL import Image  # noqa: PLC0415 - not a dependency, used where it is
    except ImportError:
        return png
    import io  # noqa: PLC0415

    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    return min(png, out.getvalue(), key=len)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
