"""Read settings from environment variables and a `.env` file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from saccade.config.describe import ANY_NAME, Location, leaf_paths, node_at
from saccade.config.layers import Layer, LayerKind, Origin, Plain
from saccade.config.problems import Problem, nearest
from saccade.config.yamlfile import MAX_FILE_BYTES

PREFIX = "SACCADE_"
BETWEEN = "__"

#: The variable that names the settings file, for programs that take no `--config`.
CONFIG_VARIABLE = "SACCADE_CONFIG"

#: Names that other documents gave to settings of ours. The SACCADE_ name wins over its alias.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "ALLOWED_HOSTS": ("server", "allowed_hosts"),
    "DATABASE_URL": ("storage", "url"),
    "GPU_POLL_INTERVAL": ("supervisor", "gpu_poll_seconds"),
    "INFERENCE_QUEUE_MAX_SIZE": ("inference", "queue_limit"),
}

#: Names from the same documents that nothing reads yet, and what stands in for them today.
NOT_YET: Mapping[str, str] = {
    "AGGREGATED_DATA_RETENTION_DAYS": "comes with the robots application",
    "ANONYMIZATION_HASH_SALT": "comes with the robots application",
    "ANONYMIZATION_LEVEL": "comes with the robots application",
    "DATABASE_POOL_SIZE": "the pool sizes itself",
    "DEBUG": "use `logging.level: DEBUG`, or `saccade --debug`",
    "DEFAULT_CONSENT_TIER": "comes with the robots application",
    "EMBEDDING_CACHE_TTL": "comes with the robots application",
    "ENABLE_EMBEDDINGS": "comes with the robots application",
    "ENABLE_GPU_MONITORING": "the GPU is read whenever there is one",
    "ENABLE_PROMETHEUS": "/metrics is always there",
    "ENABLE_S3_STORAGE": "comes with object storage",
    "ENVIRONMENT": "there is one mode; it is safe by default",
    "ETL_BATCH_SIZE": "comes with the robots application",
    "ETL_ENABLED": "comes with the robots application",
    "ETL_SCHEDULE_HOUR": "comes with the robots application",
    "GPU_DEVICE": "use CUDA_VISIBLE_DEVICES",
    "IMAGE_EMBEDDING_MODEL": "comes with the robots application",
    "INFERENCE_MAX_WORKERS": "a host per group of models: `hosts` and `inference.threads`",
    "INSTRUCTION_EMBEDDING_MODEL": "comes with the robots application",
    "JWT_SECRET_KEY": "keys and sessions make their own secrets",
    "LOW_CPU_MEM_USAGE": "comes with vision-language models",
    "MODEL_DTYPE": "comes with vision-language models",
    "RAW_DATA_RETENTION_DAYS": "comes with the robots application; events: `storage.event_days`",
    "REDIS_URL": "comes with several nodes",
    "S3_ACCESS_KEY": "comes with object storage",
    "S3_BUCKET": "comes with object storage",
    "S3_ENDPOINT": "comes with object storage",
    "S3_SECRET_KEY": "comes with object storage",
    "SAFETY_DATA_RETENTION_DAYS": "comes with the robots application",
    "SECRET_KEY": "keys and sessions make their own secrets",
    "SENTRY_DSN": "comes later",
}

#: SACCADE_ variables that are no settings: the tests', and those that Kubernetes and Docker make
#: for a service called saccade (SACCADE_PORT would be tcp://10.0.0.1:8600).
_NOT_OURS = re.compile(
    r"^SACCADE_(CONFIG|(REAL|DEV|TEST)_.*|SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)"
    r"|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?|ENV_.*|NAME)$"
)


def variable_name(path: Location) -> str:
    """Return the environment variable that sets the value at `path`."""
    return PREFIX + BETWEEN.join(str(key).upper().replace("-", "_") for key in path)


def read_environment(
    environ: Mapping[str, str], names: Mapping[str, Plain]
) -> tuple[Layer, list[Problem]]:
    """Return what the environment sets.

    Args:
        environ: the variables, by name.
        names: what weaker layers say; it decides that `FRONT_DOOR` means `front-door`.
    """
    origins = {name: Origin(LayerKind.ENVIRONMENT, 0, f"environment {name}") for name in environ}
    return _layer(environ, origins, names)


def read_dotenv(
    path: Path, names: Mapping[str, Plain], *, name: str
) -> tuple[Layer, list[Problem]]:
    """Return what a `.env` file sets; one that does not exist sets nothing.

    Names that are neither SACCADE_ nor an alias are left to the programs they are for.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            what = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
            return Layer(), [Problem(name, "", what)]
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        return Layer(), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        return Layer(), [Problem(f"{name}:{line}", "", what)]
    except OSError as error:
        return Layer(), [Problem(name, "", f"cannot be read: {error.strerror}")]
    values: dict[str, str] = {}
    origins: dict[str, Origin] = {}
    problems: list[Problem] = []
    for binding in parse_stream(io.StringIO(text)):
        written = binding.original.string
        line = binding.original.line + len(written) - len(written.lstrip("\r\n"))
        where = f"{name}:{line}"
        if binding.error:
            problems.append(Problem(where, "", "not a NAME=value line"))
        elif binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value  # the last one wins, as in every shell
            origins[binding.key] = Origin(LayerKind.DOTENV, line, f"{where} {binding.key}")
    layer, more = _layer(values, origins, names)
    return layer, problems + more


def _layer(
    variables: Mapping[str, str], origins: Mapping[str, Origin], names: Mapping[str, Plain]
) -> tuple[Layer, list[Problem]]:
    layer, problems = Layer(), list[Problem]()
    for alias, path in ALIASES.items():
        if variables.get(alias, "").strip():
            layer.put(path, variables[alias], origins[alias])
    # Shorter names first: SACCADE_CAMERAS={...} is refined by SACCADE_CAMERAS__LOBBY__LOOP.
    for name in sorted(variables, key=lambda name: (name.count(BETWEEN), name)):
        # Compose files pass on variables that are not set as empty.
        if not name.startswith(PREFIX) or _NOT_OURS.match(name) or not variables[name].strip():
            continue
        path = _path(name, names)
        node = node_at(path)
        if node is None:
            problems.append(_unknown(name, origins[name]))
            continue
        text = variables[name]
        is_json = node.leaf is None or text.lstrip().startswith("[")
        value = _json(text) if is_json else text
        layer.put(path, None if value == "null" else value, origins[name])
    return layer, problems


def _path(name: str, names: Mapping[str, Plain]) -> tuple[str, ...]:
    """Return the keys a variable stands for, with a map's names as they are written elsewhere."""
    path: list[str] = []
    here: Plain = dict(names)
    for part in name.removeprefix(PREFIX).lower().split(BETWEEN):
        inner = here if isinstance(here, dict) else {}
        key = next((known for known in inner if known.replace("-", "_") == part), part)
        path.append(key)
        here = inner.get(key)
    return tuple(path)


def _json(text: str) -> Plain:
    try:
        value: Plain = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value


def _unknown(name: str, origin: Origin) -> Problem:
    known = [variable_name(path) for path, _ in leaf_paths() if ANY_NAME not in path]
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"groups are joined by {BETWEEN}, see .env.example"
    return Problem(origin.where, "", f"unknown setting; {hint}")
