"""Nothing secret in a URL survives `redact_url`."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.config import SecretUrl, redact_url
from saccade.config.secret import WebhookUrl

# Upper case only, so that it cannot be a piece of the rest of the URL, which has none.
SECRET = st.text(string.ascii_uppercase, min_size=4, max_size=12)
# What people put into passwords without escaping it, the URL's own marks included.
ODD_SECRET = st.builds(
    lambda a, odd, b: a + odd + b, SECRET, st.text(":/?#@!$%&*+-.,;=~ []", max_size=4), SECRET
)
HOST = st.sampled_from(["camera", "192.0.2.7", "[2001:db8::1]", "camera.example:554", "h:80"])
SCHEME = st.sampled_from(["rtsp", "rtsps", "http", "https", "postgresql+psycopg"])


def parts(secret: str) -> list[str]:
    """Return the runs of capitals in a secret: none of them may be seen."""
    return [run for run in "".join(c if c.isupper() else " " for c in secret).split() if run]


@given(SCHEME, ODD_SECRET, HOST, st.sampled_from(["", "/", "/stream?x=1", "/a/b#c"]))
def test_a_password_before_the_host_is_never_shown(
    scheme: str, secret: str, host: str, tail: str
) -> None:
    shown = redact_url(f"{scheme}://admin:{secret}@{host}{tail}")
    assert not any(part in shown for part in parts(secret)), shown


@given(SCHEME, SECRET, HOST)
def test_a_token_in_the_place_of_the_user_is_never_shown(
    scheme: str, secret: str, host: str
) -> None:
    assert secret not in redact_url(f"{scheme}://{secret}@{host}/x")


@given(
    st.sampled_from(
        ["password", "pwd", "Passwd", "token", "access_token", "api_key", "apikey", "sig",
         "signature", "auth", "secret", "session", "X-Amz-Credential", "pass%77ord", "p"]
    ),
    SECRET,
    st.sampled_from(["?", "&", "#", "/user=admin&", "/a;"]),
)  # fmt: skip
def test_a_token_like_value_is_never_shown(key: str, secret: str, mark: str) -> None:
    shown = redact_url(f"https://camera.example/live?a=1{mark}{key}={secret}&b=2")
    assert secret not in shown
    assert shown.endswith("&b=2")


@given(st.text())
def test_any_text_is_redacted_without_an_error_and_once_is_enough(text: str) -> None:
    once = redact_url(text)
    assert redact_url(once) == once


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://192.0.2.7:554/stream1",
        "https://camera.example/mjpg?fps=5&size=640x360",
        "http://[2001:db8::1]:8080/video",
        "sqlite:////srv/saccade/saccade.db",
        "/videos/door@night.mp4",
        "clips/lobby.mp4",
        "https://example.org/logo@2x.png",
        "",
    ],
)
def test_a_url_without_secrets_is_left_as_it_is(url: str) -> None:
    assert redact_url(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:pw@h/1", "rtsp://admin:***@h/1"),
        ("rtsp://admin:p/w@h/1", "rtsp://admin:***@h/1"),
        ("rtsp://admin:12/34@h/1", "rtsp://admin:***@h/1"),
        ("rtsp://admin:p@w@h:554/1", "rtsp://admin:***@h:554/1"),
        ("rtsp://h/user=a&password=b&channel=1.sdp", "rtsp://h/user=a&password=***&channel=1.sdp"),
        ("admin:pw@h/stream", "admin:***@h/stream"),
        ("host=db password=pw", "host=db password=***"),
        ("postgresql://u:pw@h/db?sslmode=require", "postgresql://u:***@h/db?sslmode=require"),
    ],
)
def test_a_url_keeps_what_is_not_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_a_secret_url_prints_redacted_wherever_it_is_put() -> None:
    url = SecretUrl("rtsp://admin:pw@h/1")
    assert "pw" not in f"{url} {url!r} {[url]}"
    assert url.get_secret_value() == "rtsp://admin:pw@h/1"


def test_a_webhook_shows_only_its_machine() -> None:
    url = WebhookUrl("https://user:pw@hooks.example.org:8443/services/T0/B0?x=1")
    assert str(url) == "https://hooks.example.org:8443/***"
