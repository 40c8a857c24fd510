"""What the fake API server answers: cameras, models, processes, events and moving pictures."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import cv2
import numpy as np
from starlette.responses import JSONResponse

SIZES = {"tile": (640, 360), "full": (1280, 720)}


def camera(camera_id: str, **changes: Any) -> dict[str, Any]:
    """A live camera as the contract has it."""
    return {
        "id": camera_id,
        "name": camera_id.replace("-", " ").capitalize(),
        "state": "live",
        "reason": None,
        "kind": "rtsp",
        "source": f"rtsp://192.168.1.20/{camera_id}",
        "model": "kiosk-v3",
        "width": 1280,
        "height": 720,
        "fps": 4.9,
        "decode_fps": 24.8,
        "produced": 12640,
        "served": 2480,
        "dropped": {"paced": 10002, "superseded": 120, "busy": 31, "stale": 6},
        "in_flight": 1,
        "frame_age_seconds": 0.12,
        "objects": {"bottle": 2, "can": 1},
        "origin": "settings",
        **changes,
    }


def model(name: str, **changes: Any) -> dict[str, Any]:
    """A ready model as the contract has it."""
    return {
        "name": name,
        "kind": "detector",
        "status": "ready",
        "reason": "proved by an inference",
        "host": "cpu",
        "family": "yolox",
        "device": "CPU",
        "loaded": True,
        "ready": True,
        "input": [416, 416],
        "labels": 5,
        "demo": False,
        "origin": "settings",
        "since": time.time() - 4000,
        "metrics": {
            "load_ms": 182.4,
            "warmup_ms": 61.2,
            "last_infer_ms": 21.7,
            "p50_ms": 21.4,
            "p95_ms": 28.9,
            "p99_ms": 41.3,
            "throughput": 9.8,
            "mean_batch": 1.0,
            "requests": 4960,
            "errors": 0,
        },
        "last_error": None,
        **changes,
    }


def process(role: str, **changes: Any) -> dict[str, Any]:
    """A running process as the contract has it."""
    return {
        "role": role,
        "pid": 4000 + len(role),
        "state": "running",
        "restarts": 0,
        "uptime_seconds": 4100.0,
        "rss_bytes": 61 * 1024 * 1024,
        "reason": None,
        **changes,
    }


def rich_state() -> dict[str, Any]:
    """A server with everything: live, stalled and broken cameras, ready and failed models."""
    empty = dict.fromkeys(model("x")["metrics"])
    return {
        "at": time.time(),
        "health": {"ready": False, "reasons": ["camera back-yard is not live: connection refused"]},
        "demo": True,
        "version": "0.1.0",
        "cameras": {
            "front-door": camera("front-door"),
            "kiosk": camera("kiosk", kind="file", source="kiosk.mp4", origin="demo"),
            "warehouse": camera(
                "warehouse",
                state="stalled",
                reason="no frame for 6 s",
                fps=0.0,
                frame_age_seconds=6.2,
                objects={},
                origin="database",
            ),
            "back-yard": camera(
                "back-yard",
                state="error",
                reason="connection refused by 192.168.1.23:554",
                width=None,
                height=None,
                fps=None,
                decode_fps=None,
                produced=0,
                served=0,
                dropped={},
                in_flight=0,
                frame_age_seconds=None,
                objects={},
                model=None,
            ),
        },
        "models": {
            "kiosk-v3": model("kiosk-v3", demo=True, origin="demo"),
            "people": model(
                "people",
                status="error",
                loaded=False,
                ready=False,
                reason="the file is not an ONNX model",
                device=None,
                input=None,
                labels=None,
                metrics=empty,
                last_error={
                    "code": "model_load_failed",
                    "message": "people.onnx: the file is not an ONNX model",
                    "at": time.time() - 60,
                },
            ),
        },
        "processes": {
            "supervisor": process("supervisor", rss_bytes=23 * 1024 * 1024),
            "host cpu": process("host", restarts=1, rss_bytes=312 * 1024 * 1024),
            "camera front-door": process("camera"),
            "camera back-yard": process(
                "camera",
                state="backoff",
                restarts=4,
                pid=None,
                uptime_seconds=None,
                rss_bytes=None,
                reason="exit code 1, next try in 2 s",
            ),
            "server": process("server"),
            "pages": process("pages"),
        },
    }


def event(event_id: int, **changes: Any) -> dict[str, Any]:
    """An event as the contract has it."""
    return {
        "id": event_id,
        "kind": "object.appeared",
        "severity": "info",
        "camera": "front-door",
        "model": "kiosk-v3",
        "at": time.time() - 3600 + event_id,
        "message": f"bottle appeared ({event_id})",
        "data": {"label": "bottle", "count": event_id},
        **changes,
    }


def problem(status: int, code: str, detail: str, fix: str) -> JSONResponse:
    """An error as the contract has it."""
    return JSONResponse(
        {"type": "about:blank", "title": code, "status": status, "detail": detail,
         "code": code, "fix": fix},
        status, media_type="application/problem+json",
    )  # fmt: skip


def tile(camera_id: str, size: str, seq: int) -> bytes:
    """One message of `/ws/tiles`: a real JPEG in which something moves."""
    width, height = SIZES[size]
    shade = sum(camera_id.encode()) % 90
    picture = np.full((height, width, 3), (70 + shade, 60, 40), np.uint8)
    picture[height * 2 // 3 :] = (50, 70 + shade // 2, 60)
    x = width // 8 + (seq * 17) % (width * 3 // 4)
    cv2.rectangle(picture, (x, height // 3), (x + width // 12, height * 3 // 4), (90, 190, 120), -1)
    cv2.rectangle(picture, (x, height // 3), (x + width // 12, height * 3 // 4), (240, 240, 240), 2)
    cv2.putText(picture, f"{camera_id} {seq}", (16, height - 18), cv2.FONT_HERSHEY_SIMPLEX,
                height / 500, (255, 255, 255), 1, cv2.LINE_AA)  # fmt: skip
    ok, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert ok
    header = json.dumps({"camera": camera_id, "seq": seq, "width": width, "height": height,
                         "at": time.time(), "objects": {}}).encode()  # fmt: skip
    return struct.pack(">I", len(header)) + header + jpeg.tobytes()
