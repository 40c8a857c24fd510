"""`saccade init`, `schema` and `settings show` as a person runs them."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from saccade.config.generate import generated_files

Saccade = Callable[..., subprocess.CompletedProcess[str]]


def test_init_writes_a_file_that_is_right_and_an_editors_schema(
    saccade: Saccade, tmp_path: Path
) -> None:
    assert saccade("init", "new/place").returncode == 0
    text = (tmp_path / "new/place/saccade.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=saccade.schema.json\n")
    assert json.loads((tmp_path / "new/place/saccade.schema.json").read_text())["title"]
    shown = saccade("settings", "show", "--changed", "--config", "new/place/saccade.yaml")
    assert "new/place/saccade.yaml sets nothing" in shown.stdout


def test_init_overwrites_only_when_told(saccade: Saccade, tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").write_text("data: mine\n")
    refused = saccade("init")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "saccade.yaml").read_text() == "data: mine\n"
    assert not (tmp_path / "saccade.schema.json").exists()
    assert saccade("init", "--force").returncode == 0
    assert "data: mine" not in (tmp_path / "saccade.yaml").read_text()


def test_init_says_where_it_cannot_write(saccade: Saccade, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = saccade("init", "file/inside")
    assert result.returncode == 2
    assert "cannot be written" in result.stderr


def test_schema_prints_each_description(saccade: Saccade) -> None:
    files = generated_files()
    assert saccade("schema").stdout == files["docs/saccade.schema.json"]
    assert saccade("schema", "--format", "yaml").stdout == files["saccade.yaml.example"]
    assert saccade("schema", "--format", "env").stdout == files[".env.example"]
    assert saccade("schema", "--format", "markdown").stdout == files["docs/settings.md"]


def test_schema_writes_all_files_to_their_places(saccade: Saccade, tmp_path: Path) -> None:
    result = saccade("schema", "--write", "tree")
    assert result.stdout.split() == [f"tree/{name}" for name in generated_files()]
    for name, text in generated_files().items():
        assert (tmp_path / "tree" / name).read_text() == text


def test_settings_show_says_what_holds_and_where_it_was_written(
    saccade: Saccade, tmp_path: Path
) -> None:
    (tmp_path / "saccade.yaml").write_text(
        "server:\n  port: 9000\ncameras:\n  a: {source: 'rtsp://u:HIDDEN@h/1', loop: true}\n"
        "webhooks:\n  w: {url: 'https://h/HIDDEN', secret: HIDDEN}\n"
    )
    (tmp_path / ".env").write_text("SACCADE_CAMERAS__A__TILE_FPS=3\n")
    env = {"GPU_POLL_INTERVAL": "9"}
    result = saccade("settings", "show", "--json", env=env)
    held = {row["key"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}
    assert held["server.port"] == ("9000", "saccade.yaml:2")
    assert held["server.slots"] == ("8", "default")
    assert held["cameras.a.source"] == ("rtsp://u:***@h/1", "saccade.yaml:4")
    assert held["cameras.a.tile_fps"] == ("3", ".env:1 SACCADE_CAMERAS__A__TILE_FPS")
    assert "cameras.a.slots" not in held
    assert held["supervisor.gpu_poll_seconds"] == ("9", "environment GPU_POLL_INTERVAL")
    assert held["webhooks.w.url"] == ("https://h/***", "saccade.yaml:6")
    assert held["webhooks.w.secret"] == ("***", "saccade.yaml:6")
    table = saccade("settings", "show", env=env).stdout
    assert "HIDDEN" not in result.stdout + table
    assert "server.slots" in table
    assert "server.slots" not in saccade("settings", "show", "--changed", env=env).stdout
