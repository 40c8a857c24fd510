"""Where a command works: the settings, the data folder, its database, and the server if it runs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Annotated, Final

import typer

from saccade.assemble import Rows, assemble, this_machine
from saccade.cli.folder import open_database
from saccade.config import Loaded, load
from saccade.desired import Desired
from saccade.engine.wire import short_address
from saccade.errors import BadInput
from saccade.resolve import Machine
from saccade.storage.database import Database

#: A running server may take this long to take in what was written, seconds.
SERVER_S: Final = 10.0

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder; else the setting `data`."),
]


@dataclass(frozen=True, slots=True)
class Workplace:
    """The settings and the data folder they lead to."""

    loaded: Loaded
    data_dir: Path

    @classmethod
    def open(
        cls, config: Path | None, data: Path | None, overrides: dict[str, str | int] | None = None
    ) -> Workplace:
        """Load the settings.

        Raises:
            SettingsProblems: they are wrong.
        """
        loaded = load(config, overrides=overrides or {})
        folder = data if data is not None else Path(loaded.settings.data).expanduser()
        base = Path.cwd() if data is not None else loaded.base_dir
        return cls(loaded, (base / folder).absolute())

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """Open the database for the length of the block, its tables brought up to date."""
        database = open_database(self.loaded.settings, self.data_dir)
        try:
            yield database
        finally:
            database.close()

    def desired(self, database: Database, machine: Machine | None = None) -> Desired:
        """Return what would run."""
        return assemble(
            self.loaded.settings,
            Rows.read(database),
            base_dir=self.loaded.base_dir,
            data_dir=self.data_dir,
            machine=machine or this_machine(("CPUExecutionProvider",)),
        )

    def taken_in(self) -> str:
        """Have a running server take in what was written; return what to tell of it."""
        if self.tell_server():
            return "the running server has taken it in."
        return "it counts from the next `saccade up`."

    def tell_server(self) -> bool:
        """Have a running server take in what was written; say whether one runs."""
        try:
            folder = os.open(self.data_dir / "run", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            connection = _UnixConnection(folder, "server.sock")
            connection.request("POST", "/api/reconcile", headers={"content-length": "0"})
            answer = connection.getresponse()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                problem = json.loads(answer.read())
                raise BadInput(f"the running server says: {problem['detail']}", fix=problem["fix"])
        except OSError:
            return False
        finally:
            os.close(folder)
        return True


class _UnixConnection(HTTPConnection):
    """HTTP to the server's own socket, through its folder's descriptor.

    A path may be longer than the 108 bytes an address has.
    """

    def __init__(self, folder_fd: int, name: str) -> None:
        super().__init__("saccade", timeout=SERVER_S)
        self._address = short_address(folder_fd, name)

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SERVER_S)
        self.sock.connect(self._address)
