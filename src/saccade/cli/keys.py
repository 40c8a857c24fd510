"""`saccade keys`: make, list and revoke API keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.table import Table

from saccade.cli.options import ConfigOption, JsonOption, print_json, sub_app
from saccade.cli.workplace import DataOption, Workplace
from saccade.storage.keys import ApiKey, KeyStore

app = sub_app()


@app.callback()
def keys() -> None:
    """Make, list and revoke API keys. They are needed when others can reach the server.

    Example:
      saccade keys create office
    """


@app.command()
def create(
    name: str, config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Make a key. Its secret is shown once and stored nowhere.

    Example:
      saccade keys create office
    """
    place = Workplace.open(config, data)
    with place.database() as database:
        key, secret = KeyStore(database).create(name, now_wall=time.time())
    if as_json:
        print_json({"id": key.id, "name": key.name, "secret": secret})
        return
    print(secret)
    typer.secho(
        "Keep it: it is not shown again. Send it as X-API-Key, or log in with it.", err=True
    )


@app.command(name="list")
def list_keys(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the keys, without their secrets.

    Example:
      saccade keys list
    """
    with Workplace.open(config, data).database() as database:
        found = KeyStore(database).list()
    if as_json:
        print_json(found)
        return
    table = Table("ID", "Name", "Starts with", "Made", "State")
    for key in found:
        table.add_row(str(key.id), key.name, key.prefix, _day(key.created_wall), _state(key))
    Console().print(table)


@app.command()
def revoke(key_id: int, config: ConfigOption = None, data: DataOption = None) -> None:
    """Revoke a key; who is logged in with it is out within seconds.

    Example:
      saccade keys revoke 3
    """
    with Workplace.open(config, data).database() as database:
        key = KeyStore(database).revoke(key_id, now_wall=time.time())
    print(f"Revoked key {key.id} ({key.name}).")


def _day(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _state(key: ApiKey) -> str:
    return "active" if key.revoked_wall is None else f"revoked {_day(key.revoked_wall)}"
