"""The core's first tables.

Written with plain SQLAlchemy types: what a released revision does must not change with our code.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_OWED = sa.text("state IN ('pending', 'leased')")
_ACTIVE = sa.text("revoked_wall IS NULL")


def upgrade() -> None:
    """Create the core's tables."""
    _create_events()
    _create_outbox()
    _create_catalog()
    _create_keys()
    _create_receipts()
    _create_objects()


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("camera", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("at_wall", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("dedupe_key", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("dedupe_key", name="uq_events_dedupe_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_subject", "events", ["subject"])
    op.create_index("ix_events_at_wall", "events", ["at_wall"])
    op.create_index("ix_events_kind_id", "events", ["kind", "id"])
    op.create_index("ix_events_camera_id", "events", ["camera", "id"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("event_id", _ID),
        sa.Column("sink", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at_wall", sa.Double, nullable=False),
        sa.Column("lease_token", sa.Text),
        sa.Column("last_error", sa.Text),
        sa.Column("created_wall", sa.Double, nullable=False),
        sa.Column("delivered_wall", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.id"], name="fk_outbox_event_id_events", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_event_id", "outbox", ["event_id"])
    op.create_index("ix_outbox_subject", "outbox", ["subject"])
    op.create_index("ix_outbox_created_wall", "outbox", ["created_wall"])
    op.create_index(
        "ix_outbox_open",
        "outbox",
        ["next_at_wall", "id"],
        sqlite_where=_OWED,
        postgresql_where=_OWED,
    )


def _create_catalog() -> None:
    for table, key in (("cameras", "id"), ("models", "name")):
        op.create_table(
            table,
            sa.Column(key, sa.Text, nullable=False),
            sa.Column("spec", _JSON, nullable=False),
            sa.Column("created_wall", sa.Double, nullable=False),
            sa.Column("updated_wall", sa.Double, nullable=False),
            sa.PrimaryKeyConstraint(key, name=f"pk_{table}"),
        )


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("created_wall", sa.Double, nullable=False),
        sa.Column("revoked_wall", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_api_keys_prefix", "api_keys", ["prefix"])
    op.create_index(
        "uq_api_keys_name_active",
        "api_keys",
        ["name"],
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text, nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("created_wall", sa.Double, nullable=False),
        sa.Column("expires_wall", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_sessions"),
        sa.ForeignKeyConstraint(
            ["key_id"], ["api_keys.id"], name="fk_sessions_key_id_api_keys", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_sessions_key_id", "sessions", ["key_id"])
    op.create_index("ix_sessions_expires_wall", "sessions", ["expires_wall"])


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        sa.Column("id", _ID, nullable=False, autoincrement=True),
        sa.Column("subject_sha256", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("erased_rows", _JSON, nullable=False),
        sa.Column("erased_objects", _JSON, nullable=False),
        sa.Column("created_wall", sa.Double, nullable=False),
        sa.Column("finished_wall", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_receipts_subject_sha256", "receipts", ["subject_sha256"])
    op.create_index("ix_receipts_created_wall", "receipts", ["created_wall"])


def _create_objects() -> None:
    op.create_table(
        "objects",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("size_bytes", _ID),
        sa.Column("sha256", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("created_wall", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_objects"),
    )
    op.create_index("ix_objects_subject", "objects", ["subject"])
    op.create_index("ix_objects_prefix_created_wall", "objects", ["prefix", "created_wall"])
