"""The data folder: made private, locked for one tree, its database opened and up to date."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import Final

from saccade.config import Settings
from saccade.errors import DataFolderUnusable
from saccade.resolve import database_url
from saccade.storage import migrate
from saccade.storage.database import Database
from saccade.storage.tables import metadata

LOCK: Final = "lock"


def open_database(settings: Settings, data_dir: Path) -> Database:
    """Open the database the settings name, its tables brought up to date.

    Raises:
        DataFolderUnusable: the folder cannot be written.
        SchemaMismatch: the database is of a newer version.
    """
    make_folder(data_dir)
    url = settings.storage.url
    database = Database(
        database_url(url.get_secret_value()) if url else f"sqlite:///{data_dir}/saccade.db"
    )
    migrate.upgrade(database, metadata)
    return database


def make_folder(data_dir: Path) -> None:
    """Make the data folder, private to its owner.

    Raises:
        DataFolderUnusable: it cannot be made or written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise DataFolderUnusable(
            f"the data folder {data_dir} cannot be written: {os.strerror(error.errno or 0)}",
            fix="choose another with --data or the setting `data`, or change its permissions",
        ) from None


def lock_folder(data_dir: Path) -> int:
    """Take the data folder for one tree; the lock lives as long as the descriptor.

    Raises:
        DataFolderUnusable: another saccade has it.
    """
    make_folder(data_dir)
    fd = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise DataFolderUnusable(
            f"another saccade uses the data folder {data_dir}",
            fix="stop it, or choose another folder with --data",
        ) from None
    return fd
