"""Posts one delivery to a webhook, signed so that its receiver knows who sent it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from enum import Enum

import httpx

from saccade.desired import WebhookSpec
from saccade.storage.outbox import Delivery


class Outcome(Enum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"  # the receiver says that no repetition will help


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt's end."""

    outcome: Outcome
    error: str = ""


def post(client: httpx.Client, hook: WebhookSpec, delivery: Delivery, *, at_wall: float) -> Attempt:
    """Post a delivery.

    2xx is delivered; 410 Gone is dead; everything else, no answer included, is tried again. The
    message id stays the same over attempts, so that a receiver can know a repetition.
    """
    body = delivery.payload.encode()
    message_id = f"evt_{delivery.id}"
    headers = {
        "content-type": "application/json",
        "user-agent": "saccade",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at_wall)),
    }
    try:
        if hook.secret:
            headers["webhook-signature"] = signature(hook.secret, message_id, int(at_wall), body)
        # The answer's body is not read: it has no meaning, and it could be endless.
        with client.stream(
            "POST", hook.url, content=body, headers=headers, timeout=hook.timeout_seconds
        ) as answer:
            pass
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return Attempt(Outcome.RETRY, type(error).__name__)  # its text may hold the URL's secret
    if answer.is_success:
        return Attempt(Outcome.DELIVERED)
    gone = answer.status_code == httpx.codes.GONE
    return Attempt(Outcome.DEAD if gone else Outcome.RETRY, f"HTTP {answer.status_code}")


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the `webhook-signature` header.

    Source: Standard Webhooks specification, "Signature scheme": HMAC-SHA256 over
    `id.timestamp.body`; a secret with the prefix `whsec_` is base64.

    Raises:
        ValueError: it has the prefix and is not base64: what can be read of it is a weaker key.
    """
    key = secret.encode()
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def event_kind(delivery: Delivery) -> str:
    """Return the kind of the event a delivery tells of, for the log."""
    try:
        return str(json.loads(delivery.payload).get("kind", ""))
    except (ValueError, AttributeError):
        return ""
