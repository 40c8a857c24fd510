"""Every bad input gets one clear line, and all of them are listed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saccade.config import Problem, Settings, SettingsProblems, load
from saccade.config.yamlfile import MAX_FILE_BYTES

Problems = Callable[..., tuple[Problem, ...]]

CASES = {
    "an unknown key": (
        "server:\n  prot: 1\n",
        "saccade.yaml:2: server.prot: unknown key; did you mean server.port?",
    ),
    "an unknown group": (
        "servr: {}\n",
        "saccade.yaml:1: servr: unknown key; did you mean server?",
    ),
    "a key of another group": (
        "\nport: 3\n",
        "saccade.yaml:2: port: unknown key; did you mean server.port?",
    ),
    "an unknown key like no other": (
        "catalogue: {zzz: 1}\n",
        "saccade.yaml:1: catalogue.zzz: unknown key; known here: mirror",
    ),
    "a number out of bounds": (
        "server: {port: 70000}\n",
        "saccade.yaml:1: server.port is 70000: must be a whole number from 1 to 65535",
    ),
    "a word for a number": (
        "camera:\n  process_fps: fast\n",
        "saccade.yaml:2: camera.process_fps is 'fast': must be a number above 0, at most 60",
    ),
    "a switch for a number": (
        "server: {port: true}\n",
        "saccade.yaml:1: server.port is true: must be a whole number from 1 to 65535",
    ),
    "a fraction for a whole number": (
        "server: {slots: 2.5}\n",
        "saccade.yaml:1: server.slots is 2.5: must be a whole number from 1 to 256",
    ),
    "nothing for a number": (
        "server: {port: }\n",
        "saccade.yaml:1: server.port is null: must be a whole number from 1 to 65535",
    ),
    "no number at all": (
        "camera: {process_fps: .nan}\n",
        "saccade.yaml:1: camera.process_fps is '.nan': must be a number above 0, at most 60",
    ),
    "a word for a switch": (
        "server: {pages: maybe}\n",
        "saccade.yaml:1: server.pages is 'maybe': must be true or false",
    ),
    "an unknown word": (
        "logging: {level: loud}\n",
        "saccade.yaml:1: logging.level is 'loud': must be one of DEBUG, INFO, WARNING, ERROR",
    ),
    "a value for a group": (
        "server: 8600\n",
        "saccade.yaml:1: server is 8600: must be a group of settings",
    ),
    "a list for a map": (
        "cameras: [a]\n",
        "saccade.yaml:1: cameras is a list: must be a map of names",
    ),
    "a missing key": (
        "models:\n  yolo:\n    kind: detector\n",
        "saccade.yaml:2: models.yolo.path is missing: must be text",
    ),
    "a name that cannot be one": (
        "cameras:\n  Front Door: {source: 0}\n",
        "saccade.yaml:2: cameras: 'Front Door' cannot be a name: use a-z, 0-9, - and _, at most "
        "63, a letter or digit first",
    ),
    "a name that means none": (
        "models: {none: {path: a.onnx}}\n",
        "saccade.yaml:1: models.none is no name for a model: 'none' stands for no model",
    ),
    "a source of an unknown kind": (
        "cameras: {a: {source: 'ftp://u:secret@h/x'}}\n",
        "saccade.yaml:1: cameras.a.source is 'ftp://u:***@h/x': ftp:// is not a source saccade "
        "reads: use rtsp://, rtsps://, http://, https://, a webcam's number, /dev/videoN, a file "
        "or a folder",
    ),
    "a webcam below zero": (
        "cameras: {a: {source: -1}}\n",
        "saccade.yaml:1: cameras.a.source is -1: webcams are counted from 0: use 0, 1, ...",
    ),
    "a webhook that is no URL": (
        "webhooks: {a: {url: example.org/secret}}\n",
        "saccade.yaml:1: webhooks.a.url is ***: must be a URL like https://host/path",
    ),
    "a mirror that is no URL": (
        "catalogue: {mirror: mirror.example}\n",
        "saccade.yaml:1: catalogue.mirror is 'mirror.example': must be a URL like "
        "https://host/path",
    ),
    "an unknown database": (
        "storage: {url: 'mysql://u:secret@h/db'}\n",
        "saccade.yaml:1: storage.url is 'mysql://u:***@h/db': must be a URL of sqlite:///... or "
        "postgresql://...",
    ),
    "an unknown provider": (
        "inference: {providers: [gpu]}\n",
        "saccade.yaml:1: inference.providers is a list: 'gpu' is not an execution provider: use "
        "cpu, cuda, tensorrt, openvino, rocm, migraphx, coreml, dml",
    ),
    "labels that are nothing": (
        "models: {m: {path: a, labels: []}}\n",
        "saccade.yaml:1: models.m.labels is a list: must be a preset's name, a file's path, or a "
        "list of names",
    ),
    "an input size too large": (
        "models: {m: {path: a, input_size: 9000}}\n",
        "saccade.yaml:1: models.m.input_size is 9000: must be a side such as 640, or 640x480 "
        "(width x height), each from 32 to 4096",
    ),
    "bounds that cross": (
        "camera: {backoff_initial_seconds: 9}\n",
        "saccade.yaml:1: camera: backoff_initial_seconds is 9: must not be above "
        "backoff_max_seconds (2)",
    ),
    "bounds that cross between groups": (
        "camera: {backoff_max_seconds: 5}\n"
        "cameras:\n  a: {source: 0, backoff_initial_seconds: 9}\n",
        "saccade.yaml:3: cameras.a backoff_initial_seconds is 9: must not be above "
        "backoff_max_seconds (5)",
    ),
    "a drain longer than the stop": (
        "server: {drain_seconds: 5}\n",
        "saccade.yaml:1: server.drain_seconds is 5: must be below supervisor.stop_seconds (4.5), "
        "or the server is killed while it drains",
    ),
    "a key that is there twice": (
        "server:\n  port: 1\n  port: 2\n",
        "saccade.yaml:3: server.port is already set in line 2: keep one",
    ),
    "a group that is there twice": (
        "server:\n  port: 1\ncamera:\nserver:\n",
        "saccade.yaml:4: server is already set in line 1: keep one",
    ),
    "an alias": (
        "camera: &a {process_fps: 5}\nserver: *a\n",
        "saccade.yaml:2: aliases (*a) are not read: `camera` and `inference` hold what several "
        "cameras share",
    ),
    "a Python object": (
        "data: !!python/object/apply:os.system ['true']\n",
        "saccade.yaml:1: data: the tag !!python/object/apply:os.system is not read",
    ),
    "a list": ("- server\n", "saccade.yaml:1: the file is a list: must be `key: value` lines"),
    "a single word": (
        "hello\n",
        "saccade.yaml:1: the file is a single value: must be `key: value` lines",
    ),
    "not UTF-8": (
        b"data: x\nlogging: \xff\n",
        "saccade.yaml:2: byte 0xff is not UTF-8: save the file as UTF-8",
    ),
    "a control character": (
        b"data: a\n# \x00\n",
        "saccade.yaml:2: character #x0000 is not allowed in YAML",
    ),
    "too large": (
        b"#" * (MAX_FILE_BYTES + 1),
        "saccade.yaml: the file is larger than 1024 KiB",
    ),
    "two documents": (
        "data: a\n---\ndata: b\n",
        "saccade.yaml:2: expected a single document in the stream, but found another document",
    ),
    "a key that is a list": (
        "? [a]\n: 1\n",
        "saccade.yaml:1: a key must be a word",
    ),
}


@pytest.mark.parametrize(("text", "line"), CASES.values(), ids=CASES.keys())
def test_one_bad_input_is_one_line_that_says_where_and_what(
    problems: Problems, text: str | bytes, line: str
) -> None:
    assert [str(problem) for problem in problems(text)] == [line]


@pytest.mark.parametrize(
    "text",
    [
        "server: {port: 1\n",
        "a: b: c\n",
        "\tdata: x\n",
        "data: 'x\n",
        "data: @x\n",
        "%YAML 9\n---\n",
    ],
)
def test_broken_yaml_is_one_line_with_its_place(problems: Problems, text: str) -> None:
    (problem,) = problems(text)
    assert problem.where.startswith("saccade.yaml:")
    assert "\n" not in str(problem)


@pytest.mark.parametrize("text", ["[" * 5000, "data: " + "{a: " * 3000, "- " * 5000 + "a"])
def test_deep_nesting_is_refused_and_not_a_crash(problems: Problems, text: str) -> None:
    (problem,) = problems(text)
    assert "more than 20 levels" in problem.what


def test_all_problems_are_listed_in_the_order_of_the_file(problems: Problems) -> None:
    found = problems(
        "server:\n  prot: 1\n  port: x\ncameras:\n  a: {}\n  a: {}\nlogging: {level: x}\n",
        dotenv="SACCADE_SERVER__SLOTS=many\nnonsense here\n",
        env={"SACCADE_CAMRA__SLOTS": "3", "SACCADE_STORAGE__COMMIT_MS": "0"},
    )
    assert [problem.where for problem in found] == [
        "saccade.yaml:6",
        ".env:2",
        "environment SACCADE_CAMRA__SLOTS",
        "saccade.yaml:2",
        "saccade.yaml:3",
        "saccade.yaml:5",
        "saccade.yaml:7",
        ".env:1 SACCADE_SERVER__SLOTS",
        "environment SACCADE_STORAGE__COMMIT_MS",
    ]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SACCADE_SERVER_PORT", "did you mean SACCADE_SERVER__PORT?"),
        ("SACCADE_SERVER__PROT", "did you mean SACCADE_SERVER__PORT?"),
        ("SACCADE_QQQQQQQQQQQQ", "groups are joined by __, see .env.example"),
    ],
)
def test_an_unknown_variable_is_one_line_that_names_the_nearest(
    problems: Problems, name: str, near: str
) -> None:
    (problem,) = problems(env={name: "1"})
    assert str(problem) == f"environment {name}: unknown setting; {near}"


def test_a_broken_line_in_dotenv_and_bytes_that_are_no_text_are_told(problems: Problems) -> None:
    (problem,) = problems(dotenv="A=1\n\n\nwhat is this\n")
    assert str(problem) == ".env:4: not a NAME=value line"
    (problem,) = problems(dotenv=b"A=1\nB=\xff\n")
    assert str(problem) == ".env:2: byte 0xff is not UTF-8: save the file as UTF-8"


def test_a_file_that_is_asked_for_and_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsProblems, match=r"mine.yaml: cannot be read: No such file"):
        load(tmp_path / "mine.yaml", environ={}, folder=tmp_path)


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").mkdir()
    with pytest.raises(SettingsProblems, match=r"saccade.yaml: cannot be read: Is a directory"):
        load(environ={}, folder=tmp_path)


def test_no_message_holds_a_password_or_a_webhooks_secret(problems: Problems) -> None:
    found = problems(
        "cameras:\n"
        "  a: {source: 'rtsp://u:HIDDEN@h:99999/x'}\n"
        "  b: 'rtsp://u:HIDDEN@h/x'\n"
        "  c: {source: ['rtsp://u:HIDDEN@h/x']}\n"
        "  d: {source: 0, name: ['HIDDEN']}\n"
        "webhooks:\n"
        "  a: {url: 'x://HIDDEN', secret: [HIDDEN]}\n"
        "  b: {url: 'https://h', secrt: HIDDEN}\n"
        "storage: {url: 'mysql://u:HIDDEN@h'}\n"
    )
    assert len(found) == 8
    assert "HIDDEN" not in "\n".join(map(str, found))


# Pieces of settings, of YAML's grammar and of trouble, in any order.
PIECES = st.sampled_from(
    [*Settings.model_fields, *"abn0-:?,[]{}#&*!|>'\"%@`~ \n\t", "\n  ", "\n    ", ": ", "- ",
     "null", "true", "1e999", ".inf", "0x10", "<<: ", "!!int ", "!!binary ", "---\n", "...\n",
     "\ud7ff", "source: ", "path: ", "port: ", "labels: ", "input_size: ", "url: ", "rtsp://u:p@h",
     "9" * 5000]
)  # fmt: skip


def problems_of(folder: Path, env: dict[str, str]) -> tuple[Problem, ...]:
    """Return what is wrong with settings that may well be right; nothing but this is raised."""
    try:
        load(environ=env, folder=folder)
    except SettingsProblems as error:
        return error.problems
    return ()


@given(st.lists(PIECES, max_size=30).map("".join) | st.text() | st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_file_it_is_read_or_refused_line_by_line(
    tmp_path: Path, text: str | bytes
) -> None:
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    (tmp_path / "saccade.yaml").write_bytes(data)
    for problem in problems_of(tmp_path, {}):
        assert "\n" not in str(problem)
        assert problem.where.startswith("saccade.yaml")


@given(
    st.dictionaries(
        st.lists(
            st.sampled_from(
                [*(f.upper() for f in Settings.model_fields), "A", "SOURCE", "PORT", ""]
            ),
            min_size=1,
            max_size=4,
        ).map(lambda parts: "SACCADE_" + "__".join(parts)),
        st.text()
        | st.sampled_from(["{}", "[", '{"a": {"source": 0}}', "null", "1", "x, y", "[1]"]),
        max_size=4,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_in_the_environment_it_is_read_or_refused_line_by_line(
    tmp_path: Path, env: dict[str, str]
) -> None:
    for problem in problems_of(tmp_path, env):
        assert "\n" not in str(problem)
        assert problem.where.startswith("environment SACCADE_")
