"""What the benchmarks run on: detectors and pictures, of the demo, real, or made here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from saccade.demo.assets import demo_model_path
from saccade.demo.scene import KioskScene
from saccade.desired import ModelSpec
from saccade.models.onnx_graph import grid_cells
from saccade.types import HostName, ModelKind, ModelName

WIDTH, HEIGHT = 1280, 720
HOST = HostName("default")
#: Sides of the tiny detector's input and of its one kind of cell, pixels.
TINY_SIDE, TINY_CELL = 64, 32


def tiny_detector(folder: Path) -> ModelSpec:
    """Write a detector that costs next to nothing: what is left is the way to it and back.

    Its input is 64x64; each cell of 32x32 answers a box, the cell, with the cell's mean red, green
    and blue as the scores of three classes.
    """
    path = folder / "tiny.onnx"
    path.write_bytes(_tiny().SerializeToString())
    return spec_of("tiny", path)


def demo_detector() -> ModelSpec | None:
    """Return the detector that comes with saccade (320x192), None while it is not built."""
    path = demo_model_path()
    return spec_of("kiosk", path) if path.exists() else None


def real_detector() -> ModelSpec | None:
    """Return a YOLO11n (640x640) from real material, None where there is none."""
    folder = real_folder()
    path = folder / "detect" / "yolo11n_from_int8_dynamic.onnx" if folder else None
    return spec_of("yolo11n", path) if path and path.exists() else None


def real_folder() -> Path | None:
    """Return the folder of real material, from SACCADE_REAL_DIR or ../shared/real."""
    given = os.environ.get("SACCADE_REAL_DIR")
    beside = Path(__file__).resolve().parents[2] / "shared" / "real"
    for folder in (Path(given) if given else None, beside):
        if folder is not None and folder.is_dir():
            return folder
    return None


def spec_of(name: str, path: Path) -> ModelSpec:
    """Return the spec of a detector at a path, for batches of one as on a CPU."""
    return ModelSpec(
        name=ModelName(name), kind=ModelKind.DETECTOR, path=str(path), sha256="", host=HOST
    )


def pictures(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    """Return (720, 1280, 3) BGR pictures of a kiosk's belt, drawn."""
    scene = KioskScene(seed, WIDTH, HEIGHT)
    return [np.asarray(scene.render(40 * i)[0], np.uint8) for i in range(count)]


def i420_frames(count: int) -> list[NDArray[np.uint8]]:
    """Return the same as I420 frames of (1080, 1280)."""
    return [np.asarray(cv2.cvtColor(p, cv2.COLOR_BGR2YUV_I420), np.uint8) for p in pictures(count)]


def write_clip(path: Path, frames: int) -> None:
    """Write an H.264 clip of 1280x720, encoded as network cameras do (no B frames)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "25"}
        scene = KioskScene(2, WIDTH, HEIGHT)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(scene.render(i)[0], format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    """Yield a clip's frames, decoded on one thread as a camera does."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        yield from container.decode(stream)


def bmp(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture as BMP: its raw pixels behind a header, next to nothing to decode."""
    return bytes(cv2.imencode(".bmp", picture)[1])


def jpeg_of_size(picture: NDArray[np.uint8], most_bytes: int) -> bytes:
    """Return a picture as the best JPEG under a size."""
    for quality in range(98, 9, -2):
        data = bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
        if len(data) <= most_bytes:
            return data
    raise ValueError(f"no JPEG of {picture.shape} under {most_bytes} bytes")


def _tiny() -> onnx.ModelProto:
    cells = (TINY_SIDE // TINY_CELL) ** 2
    middles = (np.arange(TINY_SIDE // TINY_CELL) + 0.5) * TINY_CELL
    x, y = (m.reshape(-1) for m in np.meshgrid(middles, middles))
    side = np.full(cells, float(TINY_CELL))
    boxes = np.stack([x, y, side, side])[None].astype(np.float32)
    spare = grid_cells((TINY_SIDE, TINY_SIDE)) - cells  # finer cells, as real heads have; score 0
    nodes = [
        helper.make_node(
            "AveragePool",
            ["images"],
            ["pooled"],
            kernel_shape=[TINY_CELL] * 2,
            strides=[TINY_CELL] * 2,
        ),
        helper.make_node("Reshape", ["pooled", "shape"], ["scores"]),
        helper.make_node("Slice", ["scores", "zero", "one", "one"], ["first"]),
        helper.make_node("Mul", ["first", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "boxes"], ["placed"]),
        helper.make_node("Concat", ["placed", "scores"], ["answers"], axis=1),
        helper.make_node("Pad", ["answers", "padding"], ["output0"]),
    ]
    weights = {
        "shape": np.array([0, 3, cells], np.int64),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "boxes": boxes,
        "nothing": np.array(0, np.float32),
        "padding": np.array([0, 0, 0, 0, 0, spare], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["n", 3, TINY_SIDE, TINY_SIDE]
            )
        ],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 7, cells + spare])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="saccade benchmarks",
    )
    names = str({0: "red", 1: "green", 2: "blue"})
    helper.set_model_props(model, {"names": names, "task": "detect", "stride": "32"})
    onnx.checker.check_model(model)
    return model
