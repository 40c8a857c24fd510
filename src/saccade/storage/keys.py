"""API keys and browser sessions: only digests are stored, a secret is shown once."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from saccade.errors import Conflict, NotFound
from saccade.storage.database import Database
from saccade.storage.dialects import conflict_insert
from saccade.storage.tables import api_keys, sessions

SECRET_PREFIX: Final = "sk_"  # noqa: S105 (it is what every secret begins with)
SECRET_BYTES: Final = 32  # 43 characters of URL-safe base64
SECRET_CHARS: Final = len(SECRET_PREFIX) + 43
#: What lists show, so that a person can tell keys apart: 8 of 43 characters leave 210 bits unknown.
SHOWN_CHARS: Final = len(SECRET_PREFIX) + 8
DEFAULT_SCOPES: Final = ("admin",)
HOUR_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown: never the secret."""

    id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_wall: float
    revoked_wall: float | None


class KeyStore:
    """The API keys, and the sessions that were opened with one."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create(
        self, name: str, *, scopes: Sequence[str] = DEFAULT_SCOPES, now_wall: float
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Returns:
            The record, and the secret: `sk_` and 43 URL-safe characters. It is stored nowhere and
            cannot be shown again.

        Raises:
            Conflict: a key of that name is active.
        """
        secret = SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self._db.write() as conn:
            attempt = (
                conflict_insert(conn, api_keys)
                .values(
                    name=name,
                    prefix=secret[:SHOWN_CHARS],
                    secret_sha256=_digest(secret),
                    scopes=list(scopes),
                    created_wall=now_wall,
                )
                .on_conflict_do_nothing()
            )
            row = conn.execute(attempt.returning(api_keys)).one_or_none()
            if row is None:
                raise Conflict(
                    f"an active API key is named {name!r}",
                    fix="choose another name, or revoke that key first",
                )
            return _key(row._mapping), secret

    def list(self) -> list[ApiKey]:
        """Return every key, revoked ones too, the oldest first."""
        with self._db.read() as conn:
            return [
                _key(row._mapping) for row in conn.execute(select(api_keys).order_by(api_keys.c.id))
            ]

    def revoke(self, key_id: int, *, now_wall: float) -> ApiKey:
        """End a key and every session opened with it. Twice is harmless.

        Raises:
            NotFound: no key has that id.
        """
        with self._db.write() as conn:
            conn.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_wall.is_(None))
                .values(revoked_wall=now_wall)
            )
            conn.execute(delete(sessions).where(sessions.c.key_id == key_id))
            row = conn.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise NotFound(f"no API key has the id {key_id}", fix="list the keys to see their ids")
        return _key(row._mapping)

    def verify(self, secret: str) -> ApiKey | None:
        """Return the active key that has this secret, or None."""
        if len(secret) != SECRET_CHARS or not secret.startswith(SECRET_PREFIX):
            return None
        digest = _digest(secret)
        query = select(api_keys).where(
            api_keys.c.prefix == secret[:SHOWN_CHARS], api_keys.c.revoked_wall.is_(None)
        )
        with self._db.read() as conn:
            rows = conn.execute(query).all()
        # The lookup is by what lists show anyway; the rest is compared in constant time.
        found = [row for row in rows if hmac.compare_digest(row.secret_sha256, digest)]
        return _key(found[0]._mapping) if found else None

    def open_session(self, key: ApiKey, *, hours: float, now_wall: float) -> str:
        """Open a session for a browser and return its token, which is stored as a digest only.

        Raises:
            NotFound: the key does not exist any more.
        """
        token = secrets.token_urlsafe(SECRET_BYTES)
        with self._db.write() as conn:
            active = conn.execute(
                select(api_keys.c.id)
                .where(api_keys.c.id == key.id, api_keys.c.revoked_wall.is_(None))
                .with_for_update()  # a revocation meanwhile waits, and then ends this session
            ).scalar()
            if active is None:
                raise NotFound(
                    f"the API key {key.name!r} is revoked", fix="sign in with an active key"
                )
            conn.execute(
                insert(sessions).values(
                    token_sha256=_digest(token),
                    key_id=key.id,
                    created_wall=now_wall,
                    expires_wall=now_wall + hours * HOUR_S,
                )
            )
        return token

    def session(self, token: str, *, now_wall: float) -> ApiKey | None:
        """Return the key a session was opened with; None when it expired, ended or is unknown."""
        query = (
            select(api_keys)
            .join(sessions, sessions.c.key_id == api_keys.c.id)
            .where(
                # By the digest of a 256-bit random token: what the index's timing tells about a
                # digest leads to no token.
                sessions.c.token_sha256 == _digest(token),
                sessions.c.expires_wall > now_wall,
                api_keys.c.revoked_wall.is_(None),
            )
        )
        with self._db.read() as conn:
            row = conn.execute(query).one_or_none()
        return None if row is None else _key(row._mapping)

    def close_session(self, token: str) -> None:
        """End a session. Twice, or for an unknown token, is harmless."""
        with self._db.write() as conn:
            conn.execute(delete(sessions).where(sessions.c.token_sha256 == _digest(token)))


def _digest(secret: str) -> str:
    # No slow password hash: the secret is 256 random bits, there is nothing to guess.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Mapping[Any, Any]) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        scopes=tuple(row["scopes"]),
        created_wall=row["created_wall"],
        revoked_wall=row["revoked_wall"],
    )
