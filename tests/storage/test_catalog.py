"""Cameras and models made at run time: what putting, getting and deleting a spec does."""

from __future__ import annotations

import pytest

from saccade.errors import Conflict, NotFound
from saccade.storage import Catalog, Database, PutMode, Shelf

SPEC = {"url": "rtsp://ann:secret@cam/1", "fps": 2.5, "labels": ["a"], "deep": {"x": None}}


@pytest.fixture(params=list(Shelf))
def catalog(db: Database, request: pytest.FixtureRequest) -> Catalog:
    return Catalog(db, request.param)


def test_a_spec_comes_back_as_it_was_put(catalog: Catalog) -> None:
    row = catalog.put("door", SPEC, now_wall=5.0, mode=PutMode.CREATE)
    assert (row.name, row.spec, row.created_wall, row.updated_wall) == ("door", SPEC, 5.0, 5.0)
    assert catalog.get("door") == row
    assert catalog.list() == [row]


def test_a_change_keeps_when_it_was_created(catalog: Catalog) -> None:
    catalog.put("door", SPEC, now_wall=5.0, mode=PutMode.CREATE)
    for mode, now in ((PutMode.REPLACE, 6.0), (PutMode.UPSERT, 7.0)):
        row = catalog.put("door", {"now": now}, now_wall=now, mode=mode)
        assert (row.spec, row.created_wall, row.updated_wall) == ({"now": now}, 5.0, now)
    assert len(catalog.list()) == 1


def test_a_name_that_is_taken_is_a_conflict_and_keeps_its_spec(catalog: Catalog) -> None:
    catalog.put("door", SPEC, now_wall=5.0, mode=PutMode.CREATE)
    with pytest.raises(Conflict, match="'door'") as caught:
        catalog.put("door", {}, now_wall=6.0, mode=PutMode.CREATE)
    assert "secret" not in str(caught.value)
    assert catalog.get("door").spec == SPEC


def test_what_is_not_there_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="'door'"):
        catalog.get("door")
    with pytest.raises(NotFound, match="'door'"):
        catalog.delete("door")
    with pytest.raises(NotFound, match="'door'"):
        catalog.put("door", {}, now_wall=1.0, mode=PutMode.REPLACE)
    assert catalog.list() == []


def test_a_deleted_spec_is_gone_and_its_name_free(catalog: Catalog) -> None:
    catalog.put("door", SPEC, now_wall=5.0, mode=PutMode.UPSERT)
    catalog.delete("door")
    assert catalog.list() == []
    assert catalog.put("door", {}, now_wall=9.0, mode=PutMode.CREATE).created_wall == 9.0


def test_specs_are_listed_by_name_whatever_the_databases_collation(catalog: Catalog) -> None:
    for name in ("b-2", "B", "a_1", "b1", "a"):
        catalog.put(name, {}, now_wall=1.0, mode=PutMode.CREATE)
    assert [row.name for row in catalog.list()] == ["B", "a", "a_1", "b-2", "b1"]


def test_cameras_and_models_do_not_mix(db: Database) -> None:
    Catalog(db, Shelf.CAMERAS).put("x", {"is": "camera"}, now_wall=1.0, mode=PutMode.CREATE)
    assert Catalog(db, Shelf.MODELS).list() == []
