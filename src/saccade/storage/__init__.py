"""The database, events, the outbox, objects, retention and erasure.

Migrations are not among the names here: `saccade.storage.migrate` imports Alembic.
"""

from saccade.storage.catalog import Catalog, PutMode, Shelf, SpecRow
from saccade.storage.columns import BigId, PortableJson, PortableText, WallSeconds
from saccade.storage.database import Database
from saccade.storage.erasure import Receipt, ReceiptState, erase, receipts_of
from saccade.storage.events import EventStore, NewEvent, Sink, StoredEvent
from saccade.storage.keys import ApiKey, KeyStore
from saccade.storage.object_index import ObjectIndex
from saccade.storage.objects import LocalObjects, ObjectInfo, ObjectStore, check_key
from saccade.storage.outbox import Delivery, NewDelivery, Outbox, backoff_s, enqueue
from saccade.storage.registry import (
    EraseAction,
    EraseRule,
    Retention,
    RetentionClass,
    declare_prefix,
    kept,
    undeclared,
)
from saccade.storage.retention import RetentionPolicy, purge
from saccade.storage.tables import OutboxState, metadata

__all__ = [
    "ApiKey",
    "BigId",
    "Catalog",
    "Database",
    "Delivery",
    "EraseAction",
    "EraseRule",
    "EventStore",
    "KeyStore",
    "LocalObjects",
    "NewDelivery",
    "NewEvent",
    "ObjectIndex",
    "ObjectInfo",
    "ObjectStore",
    "Outbox",
    "OutboxState",
    "PortableJson",
    "PortableText",
    "PutMode",
    "Receipt",
    "ReceiptState",
    "Retention",
    "RetentionClass",
    "RetentionPolicy",
    "Shelf",
    "Sink",
    "SpecRow",
    "StoredEvent",
    "WallSeconds",
    "backoff_s",
    "check_key",
    "declare_prefix",
    "enqueue",
    "erase",
    "kept",
    "metadata",
    "purge",
    "receipts_of",
    "undeclared",
]
