"""Keep secrets out of sight: a URL without its passwords, and the types that print that way."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import unquote

from pydantic import BeforeValidator, Secret, SecretStr

#: What stands where a secret was.
STARS = "***"

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:?//")
#: Words that make the value beside them a secret, in a query, a fragment or a camera maker's path
#: (`/user=admin&password=x&channel=1.sdp` is how many DVRs take their login).
_SECRET_WORD = re.compile(
    r"pass|pwd|psw|token|secret|auth|sign|sig$|key|credential|session|jwt|sas$|^code$|^p$", re.I
)
_KEY = re.compile(r"([^&;?#/=\s]+)=")
_VALUE = re.compile(r"[^&;#]*")


def redact_url(url: str) -> str:
    """Return `url` fit for logs, pages and answers: `user:***@host`, `token=***`.

    It never raises, whatever the text, and hides too much rather than too little: a password with
    an unescaped `/`, `?`, `#` or `@` in it is still hidden, though no parser would find it.

    Args:
        url: a URL, a path, or a `key=value` connection string.
    """
    scheme = _SCHEME.match(url)
    head, rest = (scheme.group(), url[scheme.end() :]) if scheme else ("", url)
    if scheme or not url.startswith("/"):
        rest = _hide_login(rest, is_url=scheme is not None)
    return head + _hide_values(rest)


def _hide_login(rest: str, *, is_url: bool) -> str:
    """Replace the part before the host's `@`, keeping the user when there is a password."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority and is_url:
        login, host = authority.rsplit("@", 1)
        tail = rest[len(authority) :]
        # `user:a@b/c@host`: the first @ is inside the password, and so is the slash.
        if "@" in tail and ":" in login:
            host, tail = rest.rsplit("@", 1)[1], ""
        return _stars_for(login) + "@" + host + tail
    # Not an authority any parser accepts, yet `name:something` before an @ may be a login.
    outside_brackets = re.sub(r"\[[^\]]*\]", "", authority)
    if "@" in rest and ":" in outside_brackets:
        login, host = rest.rsplit("@", 1)
        return _stars_for(login) + "@" + host
    return rest


def _stars_for(login: str) -> str:
    user, colon, _ = login.partition(":")
    # A user without a password is often a token itself.
    return f"{user}:{STARS}" if colon else STARS


def _hide_values(rest: str) -> str:
    """Put stars after every `key=` whose key is a word for a secret."""
    shown, at = "", 0
    for key in _KEY.finditer(rest):
        if key.start() < at or not _SECRET_WORD.search(unquote(key.group(1))):
            continue
        value = _VALUE.match(rest, key.end())
        shown += rest[at : key.end()] + STARS
        at = value.end() if value else key.end()
    return shown + rest[at:]


class SecretUrl(Secret[str]):
    """A URL or path that may hold a password: it prints redacted."""

    def _display(self) -> str:
        return redact_url(self.get_secret_value())


class WebhookUrl(Secret[str]):
    """A receiver's URL: its path is often the secret itself, so only the machine is shown."""

    def _display(self) -> str:
        scheme, mark, rest = self.get_secret_value().partition("://")
        machine = re.split(r"[/?#]", rest, maxsplit=1)[0]
        return f"{scheme}{mark}{machine.rsplit('@', 1)[-1]}/{STARS}"


def _text(value: object) -> object:
    # A webhook's secret may be all digits, which YAML reads as a number.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SecretText = Annotated[SecretStr, BeforeValidator(_text)]
