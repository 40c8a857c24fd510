"""The core's tables, in the one MetaData that applications add theirs to."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    exists,
    literal_column,
    text,
)

from saccade.storage.columns import BigId, PortableJson, PortableText, WallSeconds
from saccade.storage.registry import EraseRule, RetentionClass, kept

#: Constraints need names of their own, or a later migration cannot drop them on SQLite.
NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMING)


class OutboxState(StrEnum):
    """What became of one delivery."""

    PENDING = "pending"  # waits for its time
    LEASED = "leased"  # a worker has it, until its lease ends
    DELIVERED = "delivered"  # the receiver took it
    DEAD = "dead"  # given up, with the last error


#: The partial index below holds only what is still owed, however much history there is.
_IS_OPEN: Final = f"state IN ('{OutboxState.PENDING}', '{OutboxState.LEASED}')"


def is_owed() -> ColumnElement[bool]:
    """Return the condition for outbox rows that somebody still has to deliver."""
    # Literals, not parameters: only so do both planners see that the partial index fits.
    return outbox.c.state.in_(
        [literal_column(f"'{state}'") for state in (OutboxState.PENDING, OutboxState.LEASED)]
    )


def _event_is_owed() -> ColumnElement[bool]:
    return exists().where(outbox.c.event_id == events.c.id, is_owed())


events = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("kind", PortableText, nullable=False),
    Column("severity", PortableText, nullable=False),
    Column("camera", PortableText),
    Column("model", PortableText),
    Column("subject", PortableText, index=True),  # the person or thing that erasure knows
    Column("at_wall", WallSeconds, nullable=False, index=True),
    Column("message", PortableText, nullable=False),
    Column("data", PortableJson, nullable=False),
    Column("dedupe_key", PortableText, unique=True),
    Index(None, "kind", "id"),
    Index(None, "camera", "id"),
    # An id is never given twice, also after a purge: it is what followers resume from.
    sqlite_autoincrement=True,
    info=kept(RetentionClass.EVENT, age="at_wall", keep=_event_is_owed, erase=EraseRule()),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("event_id", BigId, ForeignKey("events.id", ondelete="CASCADE"), index=True),
    Column("sink", PortableText, nullable=False),
    Column("subject", PortableText, index=True),
    Column("payload", PortableText, nullable=False),  # exact JSON: signatures are over these bytes
    Column("state", PortableText, nullable=False),
    Column("attempts", Integer, nullable=False),
    # When it may be claimed: for a pending row its next try, for a leased one the lease's end.
    Column("next_at_wall", WallSeconds, nullable=False),
    Column("lease_token", PortableText),
    Column("last_error", PortableText),
    Column("created_wall", WallSeconds, nullable=False, index=True),
    Column("delivered_wall", WallSeconds),
    Index(
        "ix_outbox_open",
        "next_at_wall",
        "id",
        sqlite_where=text(_IS_OPEN),
        postgresql_where=text(_IS_OPEN),
    ),
    sqlite_autoincrement=True,
    info=kept(RetentionClass.OUTBOX, age="created_wall", keep=is_owed, erase=EraseRule()),
)

cameras = Table(
    "cameras",
    metadata,
    Column("id", PortableText, primary_key=True),
    Column("spec", PortableJson, nullable=False),
    Column("created_wall", WallSeconds, nullable=False),
    Column("updated_wall", WallSeconds, nullable=False),
    info=kept(RetentionClass.CONFIG),
)

models = Table(
    "models",
    metadata,
    Column("name", PortableText, primary_key=True),
    Column("spec", PortableJson, nullable=False),
    Column("created_wall", WallSeconds, nullable=False),
    Column("updated_wall", WallSeconds, nullable=False),
    info=kept(RetentionClass.CONFIG),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", PortableText, nullable=False),
    Column("prefix", PortableText, nullable=False, index=True),
    Column("secret_sha256", PortableText, nullable=False),
    Column("scopes", PortableJson, nullable=False),
    Column("created_wall", WallSeconds, nullable=False),
    Column("revoked_wall", WallSeconds),
    # A name may be used again once its key is revoked.
    Index(
        "uq_api_keys_name_active",
        "name",
        unique=True,
        sqlite_where=text("revoked_wall IS NULL"),
        postgresql_where=text("revoked_wall IS NULL"),
    ),
    sqlite_autoincrement=True,
    info=kept(RetentionClass.SECRET),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", PortableText, primary_key=True),
    Column(
        "key_id", BigId, ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    Column("created_wall", WallSeconds, nullable=False),
    Column("expires_wall", WallSeconds, nullable=False, index=True),
    info=kept(RetentionClass.SESSION, age="expires_wall"),
)

receipts = Table(
    "receipts",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    # Not the name itself: the proof of an erasure must not be the last place that holds it.
    Column("subject_sha256", PortableText, nullable=False, index=True),
    Column("reason", PortableText, nullable=False),
    Column("state", PortableText, nullable=False),
    Column("erased_rows", PortableJson, nullable=False),
    Column("erased_objects", PortableJson, nullable=False),
    Column("created_wall", WallSeconds, nullable=False, index=True),
    Column("finished_wall", WallSeconds),
    sqlite_autoincrement=True,
    info=kept(RetentionClass.AUDIT, age="created_wall"),
)

objects = Table(
    "objects",
    metadata,
    Column("key", PortableText, primary_key=True),
    Column("prefix", PortableText, nullable=False),
    Column("size_bytes", BigId),  # null while the object is being written
    Column("sha256", PortableText),
    Column("subject", PortableText, index=True),
    Column("created_wall", WallSeconds, nullable=False),
    Index(None, "prefix", "created_wall"),
    # Age and erasure of an object reach its file too, which a plain DELETE would not.
    info={**kept(RetentionClass.OBJECT), "erased_by": "ObjectIndex"},
)
