"""Pages without a frame or a connection, in plain HTML: log in, not found, failed."""

from __future__ import annotations

import nicegui

from saccade.ui.theme import LOGO_SVG, head_html, static_url


def plain_page(title: str, body: str, *, script: str = "") -> str:
    """Return a whole HTML page.

    Args:
        title: its name.
        body: HTML below the brand; nothing from outside goes in here.
        script: file name of its script among the static files.
    """
    script_tag = f'<script defer src="{static_url(script)}"></script>' if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · saccade</title>\n"
        f'<link rel="icon" href="{static_url("logo.svg")}">\n'
        f'<link rel="stylesheet" href="/_nicegui/{nicegui.__version__}/static/fonts.css">\n'
        f"{head_html()}{script_tag}\n</head>\n<body>\n"
        '<main class="plain"><div class="card">'
        f'<div class="brand">{LOGO_SVG}<span class="brand-name">saccade</span></div>'
        f"{body}</div></main>\n</body>\n</html>\n"
    )


def login_page() -> str:
    """Return the page that asks for a key; it needs nothing but static files and `/api/session`."""
    return plain_page(
        "Log in",
        "<h1>Log in</h1>"
        '<p class="muted">This server asks for a key. Whoever runs it can make one.</p>'
        '<form id="login" novalidate><div class="field"><label for="key">Key</label>'
        '<input id="key" name="key" type="password" autocomplete="current-password" autofocus '
        'spellcheck="false" placeholder="sk_…" aria-describedby="key-error">'
        '<p class="error" id="key-error" role="alert" hidden></p></div>'
        '<button class="button primary" type="submit">Log in</button></form>'
        "<noscript><p>The pages need JavaScript.</p></noscript>",
        script="login.js",
    )


def not_found_page() -> str:
    """Return what stands at an address where there is no page."""
    return plain_page(
        "Not found",
        "<h1>No such page</h1><p>There is nothing at this address.</p>"
        '<p><a class="button" href="/">Go to the overview</a></p>',
    )


def failed_page() -> str:
    """Return what stands where a page could not be built; why is in the log, not here."""
    return plain_page(
        "Failed",
        "<h1>This page could not be built</h1>"
        "<p>The reason is in the log of the process <code>pages</code>.</p>"
        '<p><a class="button" href="/">Go to the overview</a></p>',
    )
