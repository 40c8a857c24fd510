"""Where a value comes from: command line, environment, .env, saccade.yaml, default."""

from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.config import LayerKind, Loaded, load
from saccade.config.describe import leaf_paths
from saccade.config.variables import ALIASES, NOT_YET, variable_name

Read = Callable[..., Loaded]

PORTS = {
    LayerKind.YAML: ("yaml", "server: {port: 1001}\n", 1001),
    LayerKind.DOTENV: ("dotenv", "SACCADE_SERVER__PORT=1002\n", 1002),
    LayerKind.ENVIRONMENT: ("env", {"SACCADE_SERVER__PORT": "1003"}, 1003),
    LayerKind.COMMAND_LINE: ("overrides", {"server.port": 1004}, 1004),
}


@pytest.mark.parametrize("present", range(1, 16))
def test_the_strongest_source_that_speaks_wins(read: Read, present: int) -> None:
    kinds = [kind for bit, kind in enumerate(PORTS) if present & (1 << bit)]
    loaded = read(**{PORTS[kind][0]: PORTS[kind][1] for kind in kinds})
    assert loaded.settings.server.port == PORTS[max(kinds)][2]
    assert loaded.origins["server", "port"].kind is max(kinds)


def test_with_nothing_said_every_setting_has_its_default(read: Read) -> None:
    loaded = read()
    assert loaded.settings.server.port == 8600
    assert loaded.settings.camera.process_fps == 5
    assert (loaded.settings.camera.max_frame_width, loaded.settings.camera.max_frame_height) == (
        1280,
        720,
    )
    assert loaded.settings.inference.frame_skip == 0
    assert not loaded.origins


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null\n", "\ufeff"])
def test_an_empty_file_is_right_and_says_so(read: Read, text: str) -> None:
    assert read(text).notes == ("saccade.yaml sets nothing: every setting has its default",)


def test_groups_with_all_lines_commented_out_are_left_alone(read: Read) -> None:
    loaded = read("server:\ncameras:\nhosts:\n  second:\nlogging:\n  level: debug\n")
    assert loaded.settings.server.port == 8600
    assert list(loaded.settings.hosts) == ["second"]
    assert loaded.settings.logging.level == "DEBUG"


def test_words_that_older_yaml_takes_for_switches_and_times_stay_words(read: Read) -> None:
    loaded = read(
        "cameras:\n"
        "  no: {source: 0, name: on}\n"
        "  1: {source: 010, name: 12:30:00}\n"
        "  off: {source: 1, name: 2024-01-01}\n"
        "server: {pages: no}\n"
    )
    names = {key: camera.name for key, camera in loaded.settings.cameras.items()}
    assert names == {"no": "on", "1": "12:30:00", "off": "2024-01-01"}
    assert loaded.settings.cameras["1"].source.get_secret_value() == "10"
    assert loaded.settings.server.pages is False


def test_a_camera_can_be_changed_or_made_by_variables(read: Read) -> None:
    loaded = read(
        "cameras:\n  front-door: {source: 0}\n",
        env={
            "SACCADE_CAMERAS__FRONT_DOOR__LOOP": "yes",
            "SACCADE_CAMERAS__YARD__SOURCE": "rtsp://h/1",
            "SACCADE_MODELS": '{"yolo": {"path": "a.onnx", "labels": ["x"]}}',
            "SACCADE_MODELS__YOLO__LABELS": "p, q",
            "SACCADE_SERVER__ALLOWED_HOSTS": "a.example, b.example",
            "SACCADE_INFERENCE__THREADS": "null",
            "SACCADE_INFERENCE__MODEL": "",
        },
    )
    assert set(loaded.settings.cameras) == {"front-door", "yard"}
    assert loaded.settings.cameras["front-door"].loop is True
    assert loaded.settings.models["yolo"].path == "a.onnx"
    assert loaded.settings.models["yolo"].labels == "p, q"  # a file may have a comma in its name
    assert loaded.settings.server.allowed_hosts == ("a.example", "b.example")
    assert loaded.settings.inference.model is None


@pytest.mark.parametrize(
    ("alias", "value"),
    [
        ("ALLOWED_HOSTS", "a"),
        ("DATABASE_URL", "postgresql://h/db"),
        ("GPU_POLL_INTERVAL", "7"),
        ("INFERENCE_QUEUE_MAX_SIZE", "9"),
    ],
)
def test_a_name_from_another_document_works_and_ours_wins(
    read: Read, alias: str, value: str
) -> None:
    path = ALIASES[alias]
    loaded = read(env={alias: value})
    assert loaded.origins[path].where == f"environment {alias}"
    loaded = read(env={alias: "1", variable_name(path): value})
    assert loaded.origins[path].where == f"environment {variable_name(path)}"


def test_every_alias_has_a_test_and_none_is_also_announced_for_later() -> None:
    assert set(ALIASES) == {
        "ALLOWED_HOSTS",
        "DATABASE_URL",
        "GPU_POLL_INTERVAL",
        "INFERENCE_QUEUE_MAX_SIZE",
    }
    assert not set(ALIASES) & set(NOT_YET)


def test_variables_that_kubernetes_and_docker_make_for_a_service_are_left_alone(read: Read) -> None:
    loaded = read(
        env={
            "SACCADE_PORT": "tcp://10.0.0.1:8600",
            "SACCADE_PORT_8600_TCP": "tcp://10.0.0.1:8600",
            "SACCADE_PORT_8600_TCP_ADDR": "10.0.0.1",
            "SACCADE_SERVICE_HOST": "10.0.0.1",
            "SACCADE_SERVICE_PORT_HTTP": "8600",
            "SACCADE_REAL_DIR": "/x",
        }
    )
    assert not loaded.origins


def test_dotenv_stands_beside_the_file_and_other_programs_names_are_left_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "my.yaml").write_text("server: {port: 1}\n")
    (tmp_path / "conf" / ".env").write_text("export SACCADE_DATA='/srv/x'\nPOSTGRES_USER=me\n")
    (tmp_path / ".env").write_text("SACCADE_DATA=/not/this\n")
    loaded = load(environ={"SACCADE_CONFIG": "conf/my.yaml"}, folder=tmp_path)
    assert loaded.settings.data == "/srv/x"
    assert loaded.base_dir == tmp_path / "conf"
    assert loaded.origins["data",].where == "conf/.env:1 SACCADE_DATA"


def test_every_plain_setting_can_be_reached_by_its_variable(read: Read) -> None:
    env = {
        variable_name(path): str(leaf.default).lower()
        for path, leaf in leaf_paths()
        if "<name>" not in path and isinstance(leaf.default, bool | int | float)
    }
    assert len(env) > 40
    assert read(env=env).settings == read().settings


def test_settings_cannot_be_changed_after_they_were_read(read: Read) -> None:
    settings = read().settings
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
