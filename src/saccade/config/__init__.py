"""Settings: one frozen tree from `saccade.yaml`, `.env`, the environment and the command line.

Only this package reads the environment.
"""

from saccade.config.layers import LayerKind, Origin
from saccade.config.load import FILE_NAME, Loaded, load, pack, unpack
from saccade.config.problems import Problem, SettingsProblems, nearest
from saccade.config.secret import SecretUrl, redact_url
from saccade.config.source import Source, parse_source
from saccade.config.tree import CameraEntry, HostEntry, ModelEntry, Settings, WebhookEntry

__all__ = [
    "FILE_NAME",
    "CameraEntry",
    "HostEntry",
    "LayerKind",
    "Loaded",
    "ModelEntry",
    "Origin",
    "Problem",
    "SecretUrl",
    "Settings",
    "SettingsProblems",
    "Source",
    "WebhookEntry",
    "load",
    "nearest",
    "pack",
    "parse_source",
    "redact_url",
    "unpack",
]
