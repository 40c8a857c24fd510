"""What importing costs: a host holds no OpenCV."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.models.builders import write_detector

NUMPY_ONLY = ("detections", "nms", "letterbox")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_boxes_need_numpy_alone(name: str) -> None:
    loaded = modules_after(f"import saccade.vision.{name}")
    assert not loaded & {"cv2", "onnx", "onnxruntime", "httpx", "PIL"}


def test_a_host_loads_and_infers_without_opencv(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    loaded = modules_after(
        "import numpy as np\n"
        "from saccade.desired import ModelSpec\n"
        "from saccade.models.adapter import open_adapter\n"
        "from saccade.types import ModelKind\n"
        f"spec = ModelSpec(name='m', kind=ModelKind.DETECTOR, path={str(path)!r}, sha256='', "
        "host='h')\n"
        "adapter = open_adapter(spec, ('CPUExecutionProvider',), 1)\n"
        "adapter.load()\n"
        "adapter.infer(np.zeros((1, 64, 64, 3), np.uint8))[0].pack()"
    )
    assert "onnxruntime" in loaded
    assert not loaded & {"cv2", "httpx", "PIL", "torch"}
