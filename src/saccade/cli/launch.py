"""From settings to a running tree: checks, locks, migrates, then becomes the supervisor.

The supervisor replaces this process (exec), so that what Ctrl-C, systemd or a container speaks to
is the root of the tree, and small: none of what was needed to prepare it stays in memory.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import onnxruntime

from saccade.assemble import Rows, assemble, this_machine
from saccade.cli.folder import LOCK, lock_folder, open_database
from saccade.config import Settings
from saccade.desired import Desired
from saccade.errors import DataFolderUnusable, SettingsInvalid
from saccade.resolve import DemoParts
from saccade.spawn import memfd_with
from saccade.storage.keys import KeyStore

DEMO_PREFIX: Final = "saccade-demo-"


def prepare(
    settings: Settings, *, base_dir: Path, data_dir: Path, demo: DemoParts | None = None
) -> Desired:
    """Make the data folder and database ready and return what should run.

    Raises:
        SaccadeError: of many kinds; each says what to do.
    """
    database = open_database(settings, data_dir)
    try:
        rows = Rows.read(database)
        machine = this_machine(tuple(onnxruntime.get_available_providers()))
        desired = assemble(
            settings, rows, base_dir=base_dir, data_dir=data_dir, machine=machine, demo=demo
        )
        has_key = any(key.revoked_wall is None for key in KeyStore(database).list())
        if desired.server.auth_required and not has_key:
            raise SettingsInvalid(
                f"server.host is {desired.server.host}, which others can reach, and there is no "
                "API key",
                fix="make one with `saccade keys create NAME`, or bind to 127.0.0.1",
            )
    finally:
        database.close()
    return desired


def become_supervisor(desired: Desired, lock_fd: int) -> NoReturn:
    """Replace this process by the supervisor."""
    os.set_inheritable(lock_fd, True)
    fd = memfd_with(msgspec.msgpack.encode(desired), "saccade-desired")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "saccade.supervisor", str(fd)])  # noqa: S606


def sweep_demos() -> None:
    """Remove what demos left that were killed before they could: folders nobody has locked."""
    for folder in Path(tempfile.gettempdir()).glob(f"{DEMO_PREFIX}*"):
        try:
            if folder.stat().st_uid != os.getuid() or not (folder / LOCK).exists():
                continue
            os.close(lock_folder(folder))
        except (OSError, DataFolderUnusable):
            continue
        shutil.rmtree(folder, ignore_errors=True)
