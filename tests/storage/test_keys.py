"""API keys and sessions: who gets in, who does not any more, and what is stored of a secret."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select, update

from saccade.errors import Conflict, NotFound
from saccade.storage import ApiKey, Database, KeyStore
from saccade.storage.tables import api_keys, sessions

NOW = 1_700_000_000.0


@pytest.fixture
def keys(db: Database) -> KeyStore:
    return KeyStore(db)


def test_a_secret_opens_its_own_key_and_is_well_formed(keys: KeyStore) -> None:
    record, secret = keys.create("door", now_wall=NOW)
    other, other_secret = keys.create("yard", scopes=["read", "infer"], now_wall=NOW)
    assert re.fullmatch(r"sk_[A-Za-z0-9_-]{43}", secret)
    assert keys.verify(secret) == record
    assert keys.verify(other_secret) == other
    assert (record.scopes, other.scopes) == (("admin",), ("read", "infer"))
    assert record.prefix == secret[:11]
    assert keys.list() == [record, other]


def test_no_secret_is_stored_anywhere(keys: KeyStore, db: Database) -> None:
    key, secret = keys.create("door", now_wall=NOW)
    token = keys.open_session(key, hours=1, now_wall=NOW)
    with db.read() as conn:
        stored = f"{conn.execute(select(api_keys)).all()} {conn.execute(select(sessions)).all()}"
    assert secret not in stored
    assert secret[11:] not in stored
    assert token not in stored


def test_what_is_not_a_secret_of_ours_opens_nothing(keys: KeyStore) -> None:
    _, secret = keys.create("door", now_wall=NOW)
    changed = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for wrong in ("", "sk_", changed, secret[:-1], secret + "A", secret.lower(), " " + secret,
                  "sk_" + "\ud800" * 43, "sk_" + "\0" * 43, "sk_" + "é" * 43):  # fmt: skip
        assert keys.verify(wrong) is None


def test_keys_that_share_their_shown_part_are_told_apart(keys: KeyStore, db: Database) -> None:
    first, secret = keys.create("a", now_wall=NOW)
    second, _ = keys.create("b", now_wall=NOW)
    with db.write() as conn:
        conn.execute(update(api_keys).where(api_keys.c.id == second.id).values(prefix=first.prefix))
    assert keys.verify(secret) == first


def test_a_revoked_key_opens_nothing_and_its_sessions_end_with_it(keys: KeyStore) -> None:
    key, secret = keys.create("door", now_wall=NOW)
    token = keys.open_session(key, hours=12, now_wall=NOW)
    assert keys.session(token, now_wall=NOW + 1) == key
    assert keys.revoke(key.id, now_wall=NOW + 2).revoked_wall == NOW + 2
    assert keys.verify(secret) is None
    assert keys.session(token, now_wall=NOW + 3) is None
    assert keys.revoke(key.id, now_wall=NOW + 9).revoked_wall == NOW + 2
    with pytest.raises(NotFound, match="revoked"):
        keys.open_session(key, hours=1, now_wall=NOW + 4)
    assert [key.revoked_wall for key in keys.list()] == [NOW + 2]


def test_revoking_a_key_that_never_was_is_not_found(keys: KeyStore) -> None:
    with pytest.raises(NotFound, match="7"):
        keys.revoke(7, now_wall=NOW)


def test_a_name_belongs_to_one_active_key_and_is_free_after_its_revocation(keys: KeyStore) -> None:
    key, _ = keys.create("door", now_wall=NOW)
    with pytest.raises(Conflict, match="door"):
        keys.create("door", now_wall=NOW)
    keys.revoke(key.id, now_wall=NOW)
    _, secret = keys.create("door", now_wall=NOW)
    assert keys.verify(secret) is not None


@pytest.mark.parametrize(("after_s", "is_open"), [(0, True), (3599.9, True), (3600, False)])
def test_a_session_is_open_for_its_hours(keys: KeyStore, after_s: float, is_open: bool) -> None:
    key, _ = keys.create("door", now_wall=NOW)
    token = keys.open_session(key, hours=1, now_wall=NOW)
    assert (keys.session(token, now_wall=NOW + after_s) == key) is is_open


def test_a_closed_session_is_closed_and_others_stay_open(keys: KeyStore) -> None:
    key, _ = keys.create("door", now_wall=NOW)
    closed, kept = (keys.open_session(key, hours=1, now_wall=NOW) for _ in range(2))
    keys.close_session(closed)
    keys.close_session(closed)
    keys.close_session("never opened")
    assert keys.session(closed, now_wall=NOW) is None
    assert keys.session(kept, now_wall=NOW) == key


def test_a_record_does_not_show_a_secret(keys: KeyStore) -> None:
    key, secret = keys.create("door", now_wall=NOW)
    assert isinstance(key, ApiKey)
    assert secret not in repr(key)
    assert secret[11:] not in repr(key)
