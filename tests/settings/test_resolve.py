"""From settings and rows to what the tree is told to run."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from saccade.config import Loaded, SettingsProblems, pack, parse_source, unpack
from saccade.desired import (
    CameraSpec,
    Desired,
    HostSpec,
    ModelSpec,
    ServerSpec,
    StorageSpec,
    SupervisorSpec,
    WebhookSpec,
)
from saccade.errors import BadInput, Conflict
from saccade.resolve import (
    DemoParts,
    Machine,
    camera_spec,
    database_url,
    is_loopback,
    model_spec,
    resolve,
)
from saccade.types import SourceKind

Read = Callable[..., Loaded]
GPU = Machine(cores=8, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
PRESETS = {"two": ("cat", "dog")}


def resolved(loaded: Loaded, **more: Any) -> Desired:
    arguments: dict[str, Any] = {
        "base_dir": loaded.base_dir,
        "data_dir": Path(loaded.settings.data),
        "machine": Machine(),
        "presets": PRESETS,
    }
    return resolve(loaded.settings, **arguments | more)


# setting, a value that is not its default -> the fields of the spec that must show it
SERVER = {
    "host": ("127.0.0.2", {"host": "127.0.0.2"}),
    "port": (9000, {"port": 9000}),
    "allowed_hosts": ("[a]", {"allowed_hosts": ("a",)}),
    "auth_required": ("true", {"auth_required": True}),
    "max_body_mb": (1, {"max_body_bytes": 1_048_576}),
    "max_image_megapixels": (2, {"max_image_pixels": 2_000_000}),
    "slots": (9, {"slots": 9}),
    "max_frame_width": (640, {"max_frame_width": 640}),
    "max_frame_height": (641, {"max_frame_height": 641}),
    "request_timeout_seconds": (7, {"request_timeout_seconds": 7}),
    "drain_seconds": (2, {"drain_seconds": 2}),
    "ws_queue": (3, {"ws_queue": 3}),
    "stream_fps": (3, {"stream_fps": 3}),
    "session_hours": (1, {"session_hours": 1}),
}
SUPERVISOR = {
    "supervisor.backoff_initial_seconds": (0.2, {"backoff_initial_seconds": 0.2}),
    "supervisor.backoff_max_seconds": (11, {"backoff_max_seconds": 11}),
    "supervisor.restart_budget": (6, {"restart_budget": 6}),
    "supervisor.hang_seconds": (11, {"hang_seconds": 11}),
    "supervisor.stop_seconds": (5, {"stop_seconds": 5}),
    "supervisor.gpu_poll_seconds": (6, {"gpu_poll_seconds": 6}),
    "logging.max_mb": (1, {"log_max_bytes": 1_048_576}),
    "logging.level": ("DEBUG", {"log_level": "DEBUG"}),
}
STORAGE = {
    "url": ("postgres://u:p@h/db", {"url": "postgresql+psycopg://u:p@h/db"}),
    "commit_ms": (50, {"commit_ms": 50}),
    "event_days": (1, {"event_days": 1}),
    "outbox_days": (1, {"outbox_days": 1}),
    "purge_seconds": (60, {"purge_seconds": 60}),
}
INFERENCE_OF_HOST = {
    "providers": ("[openvino, cpu]", ("OpenVINOExecutionProvider", "CPUExecutionProvider")),
    "threads": (3, 3),
    "batch_wait_ms": (5, 5),
    "queue_limit": (9, 9),
    "hang_seconds": (30, 30),
}
CAMERA = {
    "process_fps": 4, "max_frame_width": 640, "max_frame_height": 360,
    "connect_timeout_seconds": 6, "read_timeout_seconds": 4, "stall_seconds": 5,
    "frozen_seconds": 31, "backoff_initial_seconds": 0.5, "backoff_max_seconds": 3, "slots": 4,
    "tile_width": 320, "tile_height": 180, "tile_fps": 2, "jpeg_quality": 70, "appear_frames": 3,
    "leave_seconds": 2,
}  # fmt: skip


def same(spec: msgspec.Struct, fields: dict[str, object]) -> bool:
    return all(getattr(spec, name) == value for name, value in fields.items())


@pytest.mark.parametrize(("key", "case"), SERVER.items())
def test_a_setting_of_the_server_reaches_it(
    read: Read, key: str, case: tuple[object, dict[str, object]]
) -> None:
    plain = resolved(read()).server
    assert not same(plain, case[1])
    spec = resolved(read(f"server: {{{key}: {case[0]}}}")).server
    assert spec == msgspec.structs.replace(plain, **case[1])


@pytest.mark.parametrize(("key", "case"), SUPERVISOR.items())
def test_a_setting_of_the_supervisor_reaches_it(
    read: Read, key: str, case: tuple[object, dict[str, object]]
) -> None:
    plain = resolved(read()).supervisor
    assert not same(plain, case[1])
    spec = resolved(read(overrides={key: case[0]})).supervisor
    assert spec == msgspec.structs.replace(plain, **case[1])


@pytest.mark.parametrize(("key", "case"), STORAGE.items())
def test_a_setting_of_the_storage_reaches_it(
    read: Read, key: str, case: tuple[object, dict[str, object]]
) -> None:
    plain = resolved(read()).storage
    assert not same(plain, case[1])
    spec = resolved(read(overrides={f"storage.{key}": case[0]})).storage
    assert spec == msgspec.structs.replace(plain, **case[1])


@pytest.mark.parametrize("where", ["inference: ", "hosts: {other: {}}\ninference: ", "hosts"])
@pytest.mark.parametrize(("key", "case"), INFERENCE_OF_HOST.items())
def test_a_setting_of_a_host_reaches_it_and_beats_that_of_all(
    read: Read, where: str, key: str, case: tuple[object, object]
) -> None:
    plain = resolved(read()).hosts[0]
    inner = f"{{{key}: {case[0]}}}"
    text = f"hosts: {{default: {inner}}}" if where == "hosts" else f"{where}{inner}"
    spec = resolved(read(text)).hosts[0]
    assert spec == msgspec.structs.replace(plain, **{key: case[1]})


@pytest.mark.parametrize(("key", "value"), CAMERA.items())
def test_a_setting_of_all_cameras_reaches_each_and_its_own_beats_it(
    read: Read, key: str, value: float
) -> None:
    plain = resolved(read("cameras: {a: {source: 0}}")).cameras[0]
    shared = resolved(read(f"camera: {{{key}: {value}}}\ncameras: {{a: {{source: 0}}}}"))
    own = resolved(read(f"cameras: {{a: {{source: 0, {key}: {value}}}}}"))
    default = getattr(plain, key)
    back = resolved(
        read(f"camera: {{{key}: {value}}}\ncameras: {{a: {{source: 0, {key}: {default}}}}}")
    )
    assert getattr(plain, key) != value
    assert shared.cameras == own.cameras
    assert getattr(own.cameras[0], key) == value
    assert own.cameras[0].revision != plain.revision
    assert back.cameras[0] == plain


def test_no_field_of_a_spec_is_out_of_reach() -> None:
    def fields(spec: type[msgspec.Struct]) -> set[str]:
        return set(spec.__struct_fields__)

    def shown(cases: dict[str, Any]) -> set[str]:
        return {name for case in cases.values() for name in case[1]}

    assert fields(ServerSpec) == shown(SERVER)
    assert fields(SupervisorSpec) == shown(SUPERVISOR)
    assert fields(StorageSpec) == shown(STORAGE)
    assert fields(HostSpec) == {"name", *INFERENCE_OF_HOST}
    assert fields(CameraSpec) - set(CAMERA) == {
        "id",
        "name",
        "kind",
        "url",
        "display_url",
        "model",
        "frame_skip",
        "loop",
        "realtime",
        "staleness_seconds",
        "answer_timeout_seconds",
        "origin",
        "revision",
    }  # fmt: skip  the two tests below have these


def test_a_camera_has_what_it_says_and_what_inference_says(read: Read) -> None:
    spec = resolved(
        read(
            "inference:\n"
            "  {frame_skip: 2, staleness_seconds: 2, answer_timeout_seconds: 11, model: m}\n"
            "models: {m: {path: m.onnx}, n: {path: n.onnx}}\n"
            "cameras:\n"
            "  a: {source: 'rtsp://u:p@h/1'}\n"
            "  b:\n"
            "    {source: c.mp4, name: Yard, model: n, loop: true, realtime: false,\n"
            "     frame_skip: 0}\n"
            "  c: {source: 0, model: none}\n"
        )
    )
    a, b, c = spec.cameras
    assert (a.kind, a.url, a.display_url) == (
        SourceKind.RTSP,
        "rtsp://u:p@h/1",
        "rtsp://u:***@h/1",
    )
    assert (a.name, a.model, a.frame_skip, a.staleness_seconds) == ("a", "m", 2, 2)
    assert (a.loop, a.realtime, a.answer_timeout_seconds, a.origin) == (False, True, 11, "settings")
    assert (b.name, b.model, b.loop, b.realtime, b.frame_skip) == ("Yard", "n", True, False, 0)
    assert c.model is None


def test_a_model_has_what_it_says_and_what_inference_says(read: Read, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"weights")
    (tmp_path / "names.txt").write_text("a\nb c\n")
    (tmp_path / "data.yaml").write_text("names: {1: dog, 0: cat}\n")
    (tmp_path / "names.json").write_text('["x", "y"]')
    loaded = read(
        "inference: {confidence: 0.3, iou: 0.5}\n"
        "hosts: {second: {providers: [cuda, cpu]}}\n"
        "models:\n"
        "  m: {path: m.onnx, labels: names.txt}\n"
        "  n:\n"
        "    {path: /x/n.onnx, host: second, family: yolox, labels: two, confidence: 0.4,\n"
        "     iou: 0.6, input_size: 640x480, max_batch: 4}\n"
        "  o: {path: o.onnx, labels: data.yaml, input_size: 320, host: second}\n"
        "  p: {path: o.onnx, labels: names.json}\n"
        "  q: {path: o.onnx, labels: [x, 1]}\n"
    )
    m, n, o, p, q = resolved(loaded).models
    sha = hashlib.sha256(b"weights").hexdigest()
    assert (m.path, m.sha256, m.host) == (str(tmp_path / "m.onnx"), sha, "default")
    assert (m.confidence, m.iou, m.labels, m.max_batch) == (0.3, 0.5, ("a", "b c"), 1)
    assert n == ModelSpec(
        name=n.name, kind=n.kind, path="/x/n.onnx", sha256="", host=n.host, family="yolox",
        labels=("cat", "dog"), confidence=0.4, iou=0.6, input_width=640, input_height=480,
        max_batch=4,
    )  # fmt: skip
    assert (o.labels, o.input_width, o.input_height, o.max_batch) == (("cat", "dog"), 320, 320, 8)
    assert (p.labels, q.labels) == (("x", "y"), ("x", "1"))


def test_a_gpu_changes_what_is_left_to_the_machine(read: Read) -> None:
    loaded = read("models: {m: {path: m.onnx}}")
    cpu = resolved(loaded, machine=Machine(cores=8))
    gpu = resolved(loaded, machine=GPU)
    assert (cpu.hosts[0].threads, cpu.models[0].max_batch) == (4, 1)
    assert (gpu.hosts[0].threads, gpu.models[0].max_batch) == (1, 8)
    assert cpu.hosts[0].providers == ("CPUExecutionProvider",)
    assert gpu.hosts[0].providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert resolved(loaded, machine=Machine(cores=1)).hosts[0].threads == 1


def test_the_rest_of_the_tree_is_told_too(read: Read, tmp_path: Path) -> None:
    spec = resolved(
        read(
            "data: d\nserver: {pages: false}\n"
            "webhooks: {w: {url: 'https://h/x', kinds: [a], secret: 12, timeout_seconds: 3}}"
        )
    )
    assert (spec.data_dir, spec.run_dir) == (str(tmp_path / "d"), str(tmp_path / "d" / "run"))
    assert spec.storage.url == f"sqlite:///{tmp_path}/d/saccade.db"
    assert (spec.pages, spec.demo, spec.remove_data_on_exit) == (False, False, False)
    assert spec.webhooks == (
        WebhookSpec(name="w", url="https://h/x", kinds=("a",), secret="12", timeout_seconds=3),
    )


SOURCES = [
    ("rtsp://h/1", SourceKind.RTSP, "rtsp://h/1"),
    ("RTSPS://h:322/1", SourceKind.RTSP, "RTSPS://h:322/1"),
    ("http://h/mjpg", SourceKind.HTTP, "http://h/mjpg"),
    ("https://[2001:db8::1]/x", SourceKind.HTTP, "https://[2001:db8::1]/x"),
    ("0", SourceKind.WEBCAM, "/dev/video0"),
    (" 3 ", SourceKind.WEBCAM, "/dev/video3"),
    ("/dev/video12", SourceKind.WEBCAM, "/dev/video12"),
    ("clip.mp4", SourceKind.FILE, "{base}/clip.mp4"),
    ("a:b.mp4", SourceKind.FILE, "{base}/a:b.mp4"),
    ("../clip.mp4", SourceKind.FILE, "{base}/../clip.mp4"),
    ("file:///x/a%20b.mp4", SourceKind.FILE, "/x/a b.mp4"),
    ("pictures", SourceKind.FOLDER, "{base}/pictures"),
    ("later/", SourceKind.FOLDER, "{base}/later"),
]


@pytest.mark.parametrize(("text", "kind", "url"), SOURCES)
def test_a_source_tells_its_kind(text: str, kind: SourceKind, url: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    source = parse_source(text, tmp_path)
    assert (source.kind, source.url) == (kind, url.format(base=tmp_path))


@pytest.mark.parametrize(
    "text",
    ["", "  ", "ftp://h/x", "rtsp://", "rtsp:/h/1", "http://h:0/x", "http://h:99999/", "a\nb",
     "rtsp://h/a b", "rtsp://u:p/w@h/1"],
)  # fmt: skip
def test_what_is_no_source_is_refused_with_what_is(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        parse_source(text, tmp_path)
    assert "rtsp://" in caught.value.fix or "scheme://" in caught.value.fix
    assert "p/w" not in str(caught.value)


def test_rows_of_the_database_run_beside_the_settings(read: Read) -> None:
    spec = resolved(
        read("camera: {process_fps: 3}\ncameras: {a: {source: 0}}"),
        cameras={"b": {"source": "1", "jpeg_quality": 50, "model": "m"}},
        models={"m": {"path": "/m.onnx", "host": "gone"}},
    )
    assert [(camera.id, camera.origin) for camera in spec.cameras] == [
        ("a", "settings"),
        ("b", "database"),
    ]
    assert (spec.cameras[1].process_fps, spec.cameras[1].jpeg_quality) == (3, 50)
    # Its host left the settings; it must not be lost with it.
    assert spec.models[0].host == "default"


def test_an_id_used_twice_is_a_conflict(read: Read) -> None:
    loaded = read("cameras: {a: {source: 0}}\nmodels: {m: {path: x}}")
    with pytest.raises(Conflict, match=r"camera 'a' is in saccade.yaml and in the database"):
        resolved(loaded, cameras={"a": {"source": "1"}})
    with pytest.raises(Conflict, match=r"model 'm' is in saccade.yaml and in the database"):
        resolved(loaded, models={"m": {"path": "y"}})
    demo = DemoParts(cameras=resolved(loaded).cameras)
    with pytest.raises(Conflict, match=r"camera 'a' is in saccade.yaml and in the demo"):
        resolved(loaded, demo=demo)


def test_a_demo_is_added_and_marked(read: Read) -> None:
    loaded = read()
    part = camera_spec("belt", {"source": "0"}, loaded.settings, base_dir=Path("/"), origin="demo")
    spec = resolved(loaded, demo=DemoParts(cameras=(part,)))
    assert (spec.demo, spec.remove_data_on_exit, spec.cameras[0].origin) == (True, True, "demo")


@pytest.mark.parametrize(
    ("id_", "row", "said"),
    [
        ("A", {"source": "0"}, "'A' cannot be the name of a camera"),
        ("a", {}, "camera a: cameras.a.source is missing"),
        ("a", {"source": "0", "fps": 3}, "cameras.a.fps: unknown key"),
        ("a", {"source": "rtsp://u:HIDDEN@h:0/"}, "cameras.a.source is 'rtsp://u:***@h:0/'"),
        ("a", {"source": "0", "backoff_initial_seconds": 9}, "must not be above"),
        ("a", {"source": "0", "process_fps": True}, "cameras.a.process_fps is true"),
    ],
)
def test_a_bad_row_is_refused_with_its_reason(
    read: Read, id_: str, row: dict[str, object], said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        camera_spec(id_, row, read().settings, base_dir=Path("/"))
    assert said in caught.value.what
    assert "HIDDEN" not in str(caught.value)


def test_what_settings_say_of_each_other_must_exist_and_all_of_it_is_told(read: Read) -> None:
    loaded = read(
        "inference: {model: yolo}\n"
        "models: {yolov: {path: a.onnx, host: defualt}}\n"
        "cameras: {a: {source: 0, model: yolo2}}\n"
    )
    with pytest.raises(SettingsProblems) as caught:
        resolved(loaded)
    assert [problem.what for problem in caught.value.problems] == [
        "inference.model is 'yolo': no model has that name; did you mean yolov?",
        "cameras.a.model is 'yolo2': no model has that name; did you mean yolov?",
        "models.yolov.host is 'defualt': no host has that name; did you mean default?",
    ]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (None, "towo"),
        (b"", "n.txt"),
        (b"a\n\nb\n", "n.txt"),
        (b"\xff", "n.txt"),
        (b"{", "n.json"),
        (b"names: {0: a, 2: b}", "n.yaml"),
        (b"other: 1", "n.yaml"),
    ],
)
def test_labels_that_cannot_be_read_are_told(
    read: Read, tmp_path: Path, content: bytes | None, name: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsProblems, match=r"models\.m: labels"):
        resolved(read(f"models: {{m: {{path: a.onnx, labels: {name}}}}}"))


def test_settings_travel_between_processes_with_their_secrets_and_what_was_said(
    read: Read,
) -> None:
    settings = read(
        "cameras: {a: {source: 'rtsp://u:p@h/1', process_fps: 5}}\n"
        "models: {m: {path: x, labels: [a, b], input_size: 640}}\n"
        "webhooks: {w: {url: 'https://h/x', secret: s}}\nstorage: {url: 'sqlite:///x'}"
    ).settings
    again = unpack(pack(settings))
    assert again == settings
    assert again.cameras["a"].model_fields_set == {"source", "process_fps"}
    assert again.cameras["a"].source.get_secret_value() == "rtsp://u:p@h/1"


@pytest.mark.parametrize(
    ("host", "is_local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("LocalHost", True),
     ("0.0.0.0", False), ("::", False), ("127.evil.example", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_only_loopback_goes_without_a_key(read: Read, host: str, is_local: bool) -> None:
    assert is_loopback(host) is is_local
    assert resolved(read(overrides={"server.host": host})).server.auth_required is not is_local


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////x/y.db", "sqlite:////x/y.db"),
    ],
)
def test_any_name_of_postgresql_becomes_the_driver_that_is_installed(url: str, ours: str) -> None:
    assert database_url(url) == ours


def test_a_models_row_takes_a_hash_that_is_known(read: Read) -> None:
    spec = model_spec(
        "m", {"path": "/none.onnx"}, read().settings, base_dir=Path("/"), machine=Machine(),
        presets={}, sha256="abc",
    )  # fmt: skip
    assert (spec.sha256, spec.origin) == ("abc", "database")
