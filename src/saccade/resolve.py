"""Turn settings and the database's rows into what the process tree is told to run."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.config import ModelEntry, Problem, Settings, SettingsProblems, nearest
from saccade.config.labels import LabelPresets
from saccade.config.tree import DEFAULT_HOST, NO_MODEL
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
from saccade.specs import Machine, Row, camera_spec, host_spec, model_spec, sha256_file

__all__ = [
    "DemoParts",
    "LabelPresets",
    "Machine",
    "Row",
    "camera_spec",
    "database_url",
    "host_spec",
    "is_loopback",
    "model_spec",
    "resolve",
    "sha256_file",
]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DemoParts:
    """What `saccade demo` adds to the settings."""

    cameras: tuple[CameraSpec, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    remove_data_on_exit: bool = True


def resolve(
    settings: Settings,
    *,
    base_dir: Path,
    data_dir: Path,
    machine: Machine,
    presets: LabelPresets,
    cameras: Mapping[str, Row] | None = None,
    models: Mapping[str, Row] | None = None,
    demo: DemoParts | None = None,
    hash_file: Callable[[Path], str] | None = None,
) -> Desired:
    """Return everything the supervisor needs to know.

    A missing picture, video or model file stops nothing: the tree starts, and the camera or model
    that needs it reports it. `saccade check` finds it beforehand.

    Args:
        settings: from `config.load`.
        base_dir: what relative paths start from (`Loaded.base_dir`).
        data_dir: the data folder.
        machine: what this machine offers; it decides defaults that are null.
        presets: label lists by name.
        cameras: rows of the database by id, with the keys of a camera in the settings.
        models: rows of the database by name, with the keys of a model in the settings.
        demo: what a demo adds.
        hash_file: answers a file's sha256; None: `sha256_file`.

    Raises:
        SettingsProblems: a camera names a model, or a model a host, that does not exist, or
            labels cannot be read.
        BadInput: a row is not what it must be.
        Conflict: an id is used twice.
    """
    data_dir = Path(base_dir, data_dir.expanduser()).absolute()
    hosts = _hosts(settings, machine)
    hash_file = hash_file or sha256_file
    demo_models = demo.models if demo else ()
    demo_cameras = demo.cameras if demo else ()
    _unique("model", settings.models, models or {}, [str(m.name) for m in demo_models])
    _unique("camera", settings.cameras, cameras or {}, [str(c.id) for c in demo_cameras])
    _references(settings, {*settings.models, *(models or {}), *(m.name for m in demo_models)})

    problems: list[Problem] = []

    def model(name: str, row: ModelEntry | Row, origin: str) -> ModelSpec:
        return model_spec(
            name,
            row,
            settings,
            base_dir=base_dir,
            machine=machine,
            presets=presets,
            origin=origin,
            hash_file=hash_file,
        )

    from_settings: list[ModelSpec] = []
    for name, entry in settings.models.items():
        try:
            from_settings.append(model(name, entry, "settings"))
        except BadInput as error:  # labels that cannot be read
            problems.append(Problem("", f"models.{name}", f"models.{name}: {error}"))
    if problems:
        raise SettingsProblems(problems)
    return Desired(
        data_dir=str(data_dir),
        run_dir=str(data_dir / "run"),
        server=_server(settings),
        storage=_storage(settings, data_dir),
        supervisor=_supervisor(settings),
        hosts=hosts,
        models=(
            *from_settings,
            *(model(name, row, "database") for name, row in (models or {}).items()),
            *demo_models,
        ),
        cameras=(
            *(
                camera_spec(name, entry, settings, base_dir=base_dir, origin="settings")
                for name, entry in settings.cameras.items()
            ),
            *(
                camera_spec(name, row, settings, base_dir=base_dir)
                for name, row in (cameras or {}).items()
            ),
            *demo_cameras,
        ),
        webhooks=tuple(
            WebhookSpec(
                name=name,
                url=hook.url.get_secret_value(),
                kinds=hook.kinds,
                secret=hook.secret.get_secret_value() if hook.secret else "",
                timeout_seconds=hook.timeout_seconds,
            )
            for name, hook in settings.webhooks.items()
        ),
        pages=settings.server.pages,
        demo=demo is not None,
        remove_data_on_exit=demo.remove_data_on_exit if demo else False,
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listener on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _hosts(settings: Settings, machine: Machine) -> tuple[HostSpec, ...]:
    names = dict.fromkeys([DEFAULT_HOST, *settings.hosts])
    return tuple(host_spec(name, settings, machine) for name in names)


def _server(settings: Settings) -> ServerSpec:
    server = settings.server
    return ServerSpec(
        host=server.host,
        port=server.port,
        allowed_hosts=server.allowed_hosts,
        auth_required=server.auth_required or not is_loopback(server.host),
        max_body_bytes=int(server.max_body_mb * MIB),
        max_image_pixels=int(server.max_image_megapixels * 1_000_000),
        slots=server.slots,
        max_frame_width=server.max_frame_width,
        max_frame_height=server.max_frame_height,
        request_timeout_seconds=server.request_timeout_seconds,
        drain_seconds=server.drain_seconds,
        ws_queue=server.ws_queue,
        stream_fps=server.stream_fps,
        session_hours=server.session_hours,
    )


def _storage(settings: Settings, data_dir: Path) -> StorageSpec:
    storage = settings.storage
    url = storage.url.get_secret_value() if storage.url else f"sqlite:///{data_dir}/saccade.db"
    return StorageSpec(
        url=database_url(url),
        commit_ms=storage.commit_ms,
        event_days=storage.event_days,
        outbox_days=storage.outbox_days,
        purge_seconds=storage.purge_seconds,
    )


def database_url(url: str) -> str:
    """Return a database's URL with the one PostgreSQL driver saccade installs.

    Hosting providers hand out `postgres://`, and other programs `postgresql+asyncpg://`.
    """
    scheme, mark, rest = url.partition("://")
    is_postgres = scheme.split("+")[0] in {"postgres", "postgresql"}
    return f"postgresql+psycopg{mark}{rest}" if is_postgres else url


def _supervisor(settings: Settings) -> SupervisorSpec:
    supervisor = settings.supervisor
    return SupervisorSpec(
        backoff_initial_seconds=supervisor.backoff_initial_seconds,
        backoff_max_seconds=supervisor.backoff_max_seconds,
        restart_budget=supervisor.restart_budget,
        hang_seconds=supervisor.hang_seconds,
        stop_seconds=supervisor.stop_seconds,
        gpu_poll_seconds=supervisor.gpu_poll_seconds,
        log_max_bytes=int(settings.logging.max_mb * MIB),
        log_level=settings.logging.level,
    )


def _unique(what: str, settings: Iterable[str], rows: Iterable[str], demo: Sequence[str]) -> None:
    """Check that no id is used twice."""
    seen: dict[str, str] = {}
    for origin, names in (("saccade.yaml", settings), ("the database", rows), ("the demo", demo)):
        for name in names:
            if name in seen:
                raise Conflict(
                    f"{what} {name!r} is in {seen[name]} and in {origin}",
                    fix=f"rename one, or run `saccade {what}s remove {name}`",
                )
            seen[name] = origin


def _references(settings: Settings, models: set[str]) -> None:
    """Check what settings say of each other. Rows are checked when they are made."""
    problems = []
    asked = {"inference.model": settings.inference.model}
    asked |= {f"cameras.{id_}.model": camera.model for id_, camera in settings.cameras.items()}
    for key, model in asked.items():
        if model and model != NO_MODEL and model not in models:
            near = nearest(model, models)
            hint = (
                f"did you mean {near}?"
                if near
                else f"models: {', '.join(sorted(models)) or 'none'}"
            )
            problems.append(Problem("", key, f"{key} is {model!r}: no model has that name; {hint}"))
    hosts = {DEFAULT_HOST, *settings.hosts}
    for name, entry in settings.models.items():
        if entry.host not in hosts:
            key = f"models.{name}.host"
            near = nearest(entry.host, hosts)
            hint = f"did you mean {near}?" if near else f"hosts: {', '.join(sorted(hosts))}"
            problems.append(
                Problem("", key, f"{key} is {entry.host!r}: no host has that name; {hint}")
            )
    if problems:
        raise SettingsProblems(problems)
