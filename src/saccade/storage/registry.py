"""What every table and object prefix declares: how long it is kept, and how a subject is erased."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, MetaData, Table


class RetentionClass(StrEnum):
    """Why something is kept, which decides for how long."""

    EVENT = "event"  # facts: as long as people look back
    OUTBOX = "outbox"  # deliveries that ended: as long as somebody may ask what was sent
    CONFIG = "config"  # until it is removed by hand
    # Until it is removed by hand; never in an export.
    SECRET = "secret"  # noqa: S105
    SESSION = "session"  # until it expires
    OBJECT = "object"  # pictures and files: as long as the policy says
    AUDIT = "audit"  # proof of what was done; longest


#: The condition under which a row stays whatever its age.
Keep = Callable[[], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Retention:
    """What a table or an object prefix declares.

    Args:
        kind: its class.
        age: the column of wall seconds that a row's age counts from; None: never purged by age.
        keep: rows that stay whatever their age.
    """

    kind: RetentionClass
    age: str | None = None
    keep: Keep | None = None


class EraseAction(StrEnum):
    """What erasure does to a subject's rows."""

    DELETE = "delete"
    PSEUDONYMISE = "pseudonymise"  # the row stays for its sums, the person does not


@dataclass(frozen=True, slots=True)
class EraseRule:
    """How one table forgets a subject.

    Args:
        subject_column: the column that holds the subject.
        action: what happens to its rows.
        replace: for PSEUDONYMISE, what other columns become: all that could name the subject.
    """

    subject_column: str = "subject"
    action: EraseAction = EraseAction.DELETE
    replace: Mapping[str, object] = field(default_factory=dict)


def kept(
    kind: RetentionClass,
    *,
    age: str | None = None,
    keep: Keep | None = None,
    erase: EraseRule | None = None,
) -> dict[Any, Any]:
    """Return the `info` of a table: `Table(..., info=kept(RetentionClass.EVENT, age="at_wall"))`.

    Args:
        kind: the table's class.
        age: the column of wall seconds that a row's age counts from; None: never purged by age.
        keep: rows that stay whatever their age.
        erase: how the table forgets a subject; None when no row is about one.
    """
    return {"retention": Retention(kind, age, keep), "erase": erase}


def retention_of(table: Table) -> Retention | None:
    """Return what a table declares, or None when it declares nothing."""
    declared = table.info.get("retention")
    return declared if isinstance(declared, Retention) else None


def erase_rule_of(table: Table) -> EraseRule | None:
    """Return how a table forgets a subject, or None when it holds none."""
    declared = table.info.get("erase")
    return declared if isinstance(declared, EraseRule) else None


def declare_prefix(metadata: MetaData, prefix: str, kind: RetentionClass) -> str:
    """Declare a family of objects; every object's key begins with a declared prefix.

    Args:
        metadata: the registry, the same that holds the tables.
        prefix: one or more key segments, with a slash at the end: `captures/`.
        kind: its class.

    Returns:
        The prefix, so that the declaring module can keep it as its constant.
    """
    if not prefix.endswith("/") or prefix.startswith("/"):
        raise ValueError(f"an object prefix is segments that end with a slash, not {prefix!r}")
    known = prefixes(metadata)
    if known.get(prefix, kind) is not kind:
        raise ValueError(f"{prefix!r} is declared already, as {known[prefix]}")
    metadata.info["prefixes"] = {**known, prefix: kind}
    return prefix


def prefixes(metadata: MetaData) -> Mapping[str, RetentionClass]:
    """Return the declared object prefixes with their classes."""
    declared: Mapping[str, RetentionClass] = metadata.info.get("prefixes", {})
    return declared


def undeclared(metadata: MetaData) -> list[str]:
    """Return what is wrong with the registry, one sentence each; a test holds it empty."""
    wrong = []
    for table in metadata.sorted_tables:
        retention = retention_of(table)
        if retention is None:
            wrong.append(f"table {table.name} declares no retention class")
        elif retention.age is not None and retention.age not in table.c:
            wrong.append(f"table {table.name} has no column {retention.age} to tell its age")
        rule = erase_rule_of(table)
        if rule is None and "subject" in table.c and "erased_by" not in table.info:
            wrong.append(f"table {table.name} has a subject and no EraseRule")
        if rule is not None:
            wrong += [
                f"table {table.name} has no column {column} to erase"
                for column in (rule.subject_column, *rule.replace)
                if column not in table.c
            ]
    return wrong
