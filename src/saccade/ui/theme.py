"""The static files of the pages: where they are, their address, what goes into the head."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

STATIC_DIR = Path(__file__).parent / "static"

#: Below NiceGUI's own static files, so that a door that lets these through lets ours through too.
STATIC_PREFIX = "/_nicegui/saccade"

#: One year: the address holds the hash of the files, so what is behind it never changes.
CACHE_CONTROL = "public, max-age=31536000, immutable"

#: The mark: an eye whose pupil has jumped to where it matters.
LOGO_SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" width="28" height="28" '
    'fill="none" aria-hidden="true"><path d="M2.5 16S7.5 7.5 16 7.5 29.5 16 29.5 16 24.5 24.5 16 '
    '24.5 2.5 16 2.5 16Z" stroke="#3b82c4" stroke-width="2.4" stroke-linejoin="round"/>'
    '<path d="M9.5 16h6" stroke="#3b82c4" stroke-width="2" stroke-linecap="round" '
    'stroke-dasharray="0.1 3.2"/><circle cx="19.5" cy="16" r="4.2" fill="#3b82c4"/></svg>'
)


@cache
def static_hash() -> str:
    """Return a short hash of all static files, part of their address."""
    digest = hashlib.sha256()
    for path in sorted(STATIC_DIR.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def static_url(name: str) -> str:
    """Return the address of one of our static files.

    Args:
        name: its file name.
    """
    return f"{STATIC_PREFIX}/{static_hash()}/{name}"


def head_html() -> str:
    """Return what every page needs in its head.

    The script runs before the first paint on purpose: a dark page must not flash white.
    """
    return (
        f'<link rel="stylesheet" href="{static_url("saccade.css")}">\n'
        f'<script src="{static_url("shell.js")}"></script>\n'
    )


class HashedStaticFiles(StaticFiles):
    """Our static files, below `STATIC_PREFIX/<hash>`, kept by the browser for good."""

    def __init__(self) -> None:
        """Serve `STATIC_DIR`."""
        super().__init__(directory=STATIC_DIR)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file; only a good answer may be kept."""
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["Cache-Control"] = CACHE_CONTROL
        return response
