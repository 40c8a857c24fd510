"""Cameras and models that come and go while the server runs: the row first, then the tree."""

from __future__ import annotations

import time
from collections.abc import Mapping

from saccade.assemble import Rows, checked_camera, reassemble
from saccade.desired import Desired
from saccade.engine import wire
from saccade.errors import Conflict, NotFound
from saccade.server.tree import TreeView
from saccade.storage.catalog import Catalog, PutMode, Shelf
from saccade.storage.database import Database


class Things:
    """Adds, changes and removes. What comes from saccade.yaml is read-only here.

    Args:
        desired: as the server started.
        tree: whom to tell.
        database: where rows are.
    """

    def __init__(self, desired: Desired, tree: TreeView, database: Database) -> None:
        self._desired, self._tree = desired, tree
        self._database = database
        self._cameras = Catalog(database, Shelf.CAMERAS)

    def add_camera(self, camera_id: str, row: Mapping[str, object]) -> None:
        """Store a camera and start it.

        Raises:
            SettingsInvalid: the id or a value cannot be.
            Conflict: the id is taken.
        """
        if any(c.id == camera_id for c in self._tree.state.cameras):
            raise Conflict(
                f"camera {camera_id!r} exists already", fix="choose another id, or remove it first"
            )
        checked_camera(self._desired, Rows.read(self._database), camera_id, row)
        self._cameras.put(camera_id, row, mode=PutMode.CREATE, now_wall=time.time())
        self.apply()

    def change_camera(self, camera_id: str, row: Mapping[str, object]) -> None:
        """Change settings of a camera; its process is replaced.

        Raises:
            NotFound, Conflict, SettingsInvalid: as they say.
        """
        self._must_be_ours(camera_id)
        merged = {**self._cameras.get(camera_id).spec, **row}
        checked_camera(self._desired, Rows.read(self._database), camera_id, merged)
        self._cameras.put(camera_id, merged, mode=PutMode.REPLACE, now_wall=time.time())
        self.apply()

    def remove_camera(self, camera_id: str) -> None:
        """Stop a camera and forget it; its events stay."""
        self._must_be_ours(camera_id)
        self._cameras.delete(camera_id)
        self.apply()

    def apply(self) -> None:
        """Tell the supervisor what the settings and the database want now."""
        cameras, models = reassemble(self._desired, Rows.read(self._database))
        self._tree.tell(wire.Wanted(cameras, models))

    def _must_be_ours(self, camera_id: str) -> None:
        camera = next((c for c in self._tree.state.cameras if c.id == camera_id), None)
        if camera is None:
            raise NotFound(f"no camera is named {camera_id!r}", fix="GET /api/cameras lists them")
        if camera.spec.origin != "database":
            raise Conflict(
                f"camera {camera_id!r} comes from {_where(camera.spec.origin)}",
                fix="change it there and start the server again",
            )


def _where(origin: str) -> str:
    return {"settings": "saccade.yaml", "demo": "the demo"}.get(origin, origin)
