"""The column types that mean the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Double, Integer, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

#: PostgreSQL stores no NUL in text and no UTF-8 exists for a lone surrogate; SQLite takes both. A
#: label out of a foreign model file must not decide whether a whole batch of events commits.
_UNSTORABLE = {0: "\N{REPLACEMENT CHARACTER}"} | dict.fromkeys(
    range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"
)


def storable_text(text: str) -> str:
    """Return `text` with NUL and lone surrogates replaced by U+FFFD."""
    return text if text.isascii() and "\0" not in text else text.translate(_UNSTORABLE)


def storable_json(value: object) -> object:
    """Return a JSON value as both databases keep it: text storable, NaN and infinity null."""
    match value:
        case str():
            return storable_text(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {storable_json(key): storable_json(item) for key, item in value.items()}
        case list() | tuple():
            return [storable_json(item) for item in value]
        case _:
            return value


class PortableText(TypeDecorator[str]):
    """Text of any length, cleaned by `storable_text` on its way in."""

    impl = Text
    cache_ok = True

    def process_bind_param(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002 (SQLAlchemy's signature)
    ) -> str | None:
        """Clean one value."""
        return None if value is None else storable_text(value)


class PortableJson(TypeDecorator[Any]):
    """JSON on SQLite, JSONB on PostgreSQL. NaN and infinity, which JSON has not, become null.

    JSON has one kind of number: JSONB gives a float that is whole and above 2**53 back as an int.
    """

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose JSONB where there is one."""
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else JSON())

    def process_bind_param(
        self,
        value: object,
        dialect: Dialect,  # noqa: ARG002 (SQLAlchemy's signature)
    ) -> object:
        """Clean one value."""
        return storable_json(value)


#: Seconds since 1970, UTC, as `Clock.wall()` gives them: SQLite has no time zone to keep, the
#: house's clock, messages and metrics speak floats already, and a float cannot be naive by mistake.
WallSeconds = Double

#: A 64-bit id. SQLite numbers only a column that is declared INTEGER by itself.
BigId = BigInteger().with_variant(Integer(), "sqlite")
