"""Train the kiosk demo's detector from drawn frames, measure it on unseen seeds, export it.

    pip install "saccade[demo-train,dev]"
    python tools/train_demo_detector.py --out src/saccade/demo

One CPU thread and about a quarter of an hour. Writes `kiosk_demo.onnx` and its card
`kiosk_demo.json`; every figure in the card is measured here, on the exported file.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import hashlib
import importlib.metadata
import io
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import faster_coco_eval
import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from demo_detector import HEIGHT, STRIDES, WIDTH, DemoDetector, loss
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from saccade.demo.assets import ModelCard
from saccade.demo.scene import CLASS_NAMES, KioskScene

TRAIN_SEEDS = range(10_000, 10_400)
TRAIN_FRAMES = 9  # of each seed
HELD_OUT_SEEDS = range(90_000, 90_060)
HELD_OUT_FRAMES = 10
MOST_OBJECTS = 8
GREY = 114
NMS_IOU = 0.6
LATENCY_RUNS = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """A frame at the model's width, with boxes (n, 4) in its pixels and labels (n,)."""

    picture: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def backdrop(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture without meaning, 360x640: colour ramps, blobs, lines, shapes."""
    corners = rng.uniform(10, 245, (2, 3, 3)).astype(np.float32)
    ramp = cv2.resize(corners, (640, 360), interpolation=cv2.INTER_CUBIC)
    grain = int(rng.integers(3, 60))
    small = rng.normal(0, rng.uniform(2, 40), (360 // grain + 2, 640 // grain + 2, 3))
    ramp = ramp + cv2.resize(small.astype(np.float32), (640, 360), interpolation=cv2.INTER_LINEAR)
    out: NDArray[np.uint8] = np.clip(ramp, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(0, 9))):
        at = tuple(int(v) for v in rng.integers(0, (640, 360)))
        to = tuple(int(v) for v in rng.integers(0, (640, 360)))
        colour = tuple(float(v) for v in rng.uniform(0, 255, 3))
        shape = int(rng.integers(3))
        if shape == 0:
            cv2.line(out, at, to, colour, int(rng.integers(1, 14)), cv2.LINE_AA)
        elif shape == 1:
            end = (at[0] + int(rng.integers(8, 160)), at[1] + int(rng.integers(8, 160)))
            cv2.rectangle(out, at, end, colour, -1)
        else:
            axes = (int(rng.integers(5, 90)), int(rng.integers(5, 90)))
            cv2.ellipse(out, at, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return out


def frames(seeds: range, per_seed: int, *, strange: float) -> list[Sample]:
    """Draw `per_seed` frames of each scene, at half size; a share `strange` without the kiosk."""
    out = []
    for seed in seeds:
        rng = np.random.default_rng(seed ^ 0x5ACCADE)
        scene = KioskScene(seed)
        for index in rng.choice(scene.loop_frames, per_seed, replace=False):
            behind = backdrop(rng) if rng.random() < strange else None
            picture, truths = scene.render(int(index), backdrop=behind)
            scale = WIDTH / scene.width
            small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
            boxes = np.array([t.box_px for t in truths], np.float32).reshape(-1, 4) * scale
            labels = np.array([CLASS_NAMES.index(t.label) for t in truths], np.int64)
            out.append(Sample(small, boxes, labels))
    return out


def augmented(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return the frame letterboxed to 192x320 as another camera might have seen it."""
    high, wide = sample.picture.shape[:2]
    zoom = float(np.exp(rng.normal(0, 0.14)))
    dx, dy = rng.normal(0, 0.05, 2) * (wide, high)
    if rng.random() < 0.4:
        zoom, dx, dy = 1.0, 0.0, 0.0
    sx, sy = (zoom * (-1 if rng.random() < 0.5 else 1), zoom * (-1 if rng.random() < 0.5 else 1))
    x0, y0 = WIDTH / 2 + dx - sx * wide / 2, HEIGHT / 2 + dy - sy * high / 2
    move = np.array([[sx, 0, x0], [0, sy, y0]], np.float32)
    picture = cv2.warpAffine(
        sample.picture, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderValue=(GREY,) * 3
    )
    picture = recoloured(picture, rng)
    ends = sample.boxes.reshape(-1, 2, 2) * (sx, sy) + (x0, y0)
    whole = np.concatenate([ends.min(1), ends.max(1)], 1)
    edge = np.clip(whole, 0, (WIDTH, HEIGHT, WIDTH, HEIGHT))
    keep = np.prod(edge[:, 2:] - edge[:, :2], 1) > 0.4 * np.prod(whole[:, 2:] - whole[:, :2], 1)
    return Sample(picture, edge[keep].astype(np.float32), sample.labels[keep])


def recoloured(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture with another hue, light, sharpness, noise and compression."""
    if rng.random() < 0.7:
        hsv = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.normal(0, 12)) % 180
        hsv[..., 1] *= rng.uniform(0.45, 1.4)
        hsv[..., 2] = hsv[..., 2] * rng.uniform(0.55, 1.4) + rng.uniform(-18, 18)
        picture = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.3)))
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(2, 12), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        data = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return picture


def batch_of(samples: list[Sample]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return images (b, 3, h, w) RGB 0..1, boxes (b, m, 4) and labels (b, m), padded with -1."""
    pictures = np.stack([s.picture[..., ::-1] for s in samples])
    images = torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float().div(255)
    boxes = torch.zeros(len(samples), MOST_OBJECTS, 4)
    labels = torch.full((len(samples), MOST_OBJECTS), -1, dtype=torch.long)
    for row, sample in enumerate(samples):
        count = min(MOST_OBJECTS, len(sample.labels))
        boxes[row, :count] = torch.from_numpy(sample.boxes[:count])
        labels[row, :count] = torch.from_numpy(sample.labels[:count])
    return images.contiguous(memory_format=torch.channels_last), boxes, labels


def train(samples: list[Sample], *, steps: int, batch: int, seed: int) -> DemoDetector:
    """Return the mean of the weights over the last part of the training (EMA), for inference."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = DemoDetector(len(CLASS_NAMES)).to(memory_format=torch.channels_last).train()
    mean: DemoDetector = copy.deepcopy(model)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}], lr=0.0
    )
    warm, top = max(1, steps // 15), 3e-3
    order: list[int] = []
    began = time.monotonic()
    for step in range(steps):
        share = (step - warm) / max(1, steps - warm)
        rate = (
            top * (step + 1) / warm
            if step < warm
            else top * (0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        if len(order) < batch:
            order += [int(i) for i in rng.permutation(len(samples))]
        chosen, order = order[:batch], order[batch:]
        images, boxes, labels = batch_of([augmented(samples[i], rng) for i in chosen])
        value = loss(model, images, boxes, labels)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        decay = min(0.995, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, new in zip(
                mean.state_dict().values(), model.state_dict().values(), strict=True
            ):
                if kept.is_floating_point():
                    kept.lerp_(new, 1 - decay)
                else:
                    kept.copy_(new)
        if step % 25 == 0 or step == steps - 1:
            passed = time.monotonic() - began
            print(f"step {step + 1}/{steps}  loss {value.item():.3f}  {passed:.0f} s", flush=True)
    mean.to(memory_format=torch.contiguous_format).eval()
    return mean


def export(model: DemoDetector, path: Path, described: str, trained_at: str) -> None:
    """Write the ONNX file with the metadata a server reads."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, HEIGHT, WIDTH),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
    )
    file = onnx.load(path)
    # The exporter leaves made-up names where the numbers are known.
    _, rows, places = file.graph.output[0].type.tensor_type.shape.dim
    rows.dim_value, places.dim_value = 4 + len(CLASS_NAMES), int(model.places.shape[1])
    meta = {
        "names": str(dict(enumerate(CLASS_NAMES))),
        "stride": str(max(STRIDES)),
        "imgsz": f"[{HEIGHT}, {WIDTH}]",
        "task": "detect",
        "author": "the saccade authors",
        "license": "Apache-2.0",
        "description": "saccade's demo model: bottles, cans and cartons on a drawn recycling kiosk",
        "trained_at": trained_at,
        "dataset": described,
    }
    onnx.helper.set_model_props(file, meta)
    onnx.checker.check_model(file)
    onnx.save(file, path)


def session(path: Path) -> onnxruntime.InferenceSession:
    """Open the file for one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def kept_by_nms(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> list[int]:
    """Return the rows that survive greedy non-maximum suppression, best first."""
    area = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        first, left = left[0], left[1:]
        kept.append(int(first))
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.prod(np.clip(high - low, 0, None), 1)
        left = left[shared / (area[first] + area[left] - shared) <= NMS_IOU]
    return kept


def measure(path: Path, samples: list[Sample]) -> tuple[float, float, dict[str, float]]:
    """Return mAP50, mAP50-95 and AP50 of each class of the exported file, as COCO counts them."""
    run = session(path)
    pad = (HEIGHT - samples[0].picture.shape[0]) // 2
    images: list[dict[str, int]] = []
    truths: list[dict[str, object]] = []
    found: list[dict[str, object]] = []
    for number, sample in enumerate(samples, start=1):
        images.append({"id": number, "width": WIDTH, "height": HEIGHT})
        for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):
            size = [box[2] - box[0], box[3] - box[1]]
            truths.append(
                {"id": len(truths) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0,
                 "bbox": [box[0], box[1] + pad, *size], "area": size[0] * size[1]}
            )  # fmt: skip
        boxed = cv2.copyMakeBorder(
            sample.picture, pad, pad, 0, 0, cv2.BORDER_CONSTANT, value=(GREY,) * 3
        )
        blob = np.ascontiguousarray(boxed[..., ::-1].transpose(2, 0, 1)[None], np.float32) / 255
        rows = run.run(None, {"images": blob})[0][0].T
        half = rows[:, 2:4] / 2
        corners = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1)
        for label in range(len(CLASS_NAMES)):
            sure = np.flatnonzero(rows[:, 4 + label] > 0.01)
            for row in kept_by_nms(corners[sure], rows[sure, 4 + label]):
                x0, y0, x1, y1 = (float(v) for v in corners[sure[row]])
                box = [x0, y0, x1 - x0, y1 - y0]
                score = float(rows[sure[row], 4 + label])
                found.append(
                    {"image_id": number, "category_id": label + 1, "bbox": box, "score": score}
                )
    kinds = [{"id": n, "name": name} for n, name in enumerate(CLASS_NAMES, start=1)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO({"images": images, "annotations": truths, "categories": kinds})
        counted = COCOeval_faster(
            truth, truth.loadRes(found), "bbox", print_function=lambda *_: None
        )
        counted.evaluate()
        counted.accumulate()
        counted.summarize()
    precision = counted.eval["precision"]  # IoU, recall, class, area, most detections
    each = {n: float(precision[0, :, k, 0, -1].mean()) for k, n in enumerate(CLASS_NAMES)}
    return float(counted.stats[1]), float(counted.stats[0]), each


def latency_ms(path: Path) -> float:
    """Return the median time of one picture on one thread."""
    run = session(path)
    blob = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)
    times = []
    for _ in range(LATENCY_RUNS):
        began = time.perf_counter()
        run.run(None, {"images": blob})
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times[LATENCY_RUNS // 10 :])


def measured(path: Path, card: ModelCard) -> ModelCard:
    """Return the card with everything that is measured on the file as it is."""
    held_out = frames(HELD_OUT_SEEDS, HELD_OUT_FRAMES, strange=0.0)
    map50, map50_95, each = measure(path, held_out)
    content = path.read_bytes()
    return msgspec.structs.replace(
        card,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        held_out_seeds=(HELD_OUT_SEEDS.start, HELD_OUT_SEEDS.stop - 1),
        held_out_images=len(held_out),
        held_out_objects=sum(len(s.labels) for s in held_out),
        map50=round(map50, 4),
        map50_95=round(map50_95, 4),
        ap50_by_class={name: round(value, 4) for name, value in each.items()},
        evaluator=f"faster-coco-eval {faster_coco_eval.__version__}",
        latency_ms=round(latency_ms(path), 2),
        latency_how=f"median of {LATENCY_RUNS - LATENCY_RUNS // 10} runs after warm-up, batch 1, "
        f"one CPU thread, onnxruntime {onnxruntime.__version__}",
    )


def trained(path: Path, *, steps: int, batch: int, threads: int, seed: int) -> ModelCard:
    """Train, export to `path`, and return the card with nothing measured yet (NaN, empty)."""
    samples = frames(TRAIN_SEEDS, TRAIN_FRAMES, strange=0.2)
    print(f"{len(samples)} training frames drawn", flush=True)
    began = time.monotonic()
    model = train(samples, steps=steps, batch=batch, seed=seed)
    took = time.monotonic() - began
    described = (
        f"{len(samples)} frames drawn by KioskScene, seeds {TRAIN_SEEDS.start} to "
        f"{TRAIN_SEEDS.stop - 1}; a fifth of them on meaningless backgrounds"
    )
    trained_at = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    export(model, path, described, trained_at)
    return ModelCard(
        name="kiosk_demo",
        description="Finds bottles, cans and cartons on saccade's drawn recycling kiosk. A demo: "
        "it has never seen a photograph.",
        license="Apache-2.0",
        classes=CLASS_NAMES,
        input_height=HEIGHT,
        input_width=WIDTH,
        parameters=sum(p.numel() for p in model.parameters()),
        trained_at=trained_at,
        training_data=described,
        training_seeds=(TRAIN_SEEDS.start, TRAIN_SEEDS.stop - 1),
        training_steps=steps,
        training_seconds=round(took, 1),
        made_with=f"torch {importlib.metadata.version('torch')}, onnx {onnx.__version__}, "
        f"opencv {cv2.__version__}, numpy {np.__version__}",
        reproduce=f"python tools/train_demo_detector.py --steps {steps} --batch {batch} "
        f"--threads {threads} --seed {seed}",
        size_bytes=0,
        sha256="",
        held_out_seeds=(0, 0),
        held_out_images=0,
        held_out_objects=0,
        map50=math.nan,
        map50_95=math.nan,
        ap50_by_class={},
        evaluator="",
        latency_ms=math.nan,
        latency_how="",
    )


def main() -> None:
    """Draw, train, export, measure, write the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("src/saccade/demo"))
    parser.add_argument("--steps", type=int, default=1250)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--measure-only", action="store_true", help="keep the file in --out and measure it again"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    path, beside = args.out / "kiosk_demo.onnx", args.out / "kiosk_demo.json"
    if args.measure_only:
        card = msgspec.json.decode(beside.read_bytes(), type=ModelCard)
    else:
        card = trained(
            path, steps=args.steps, batch=args.batch, threads=args.threads, seed=args.seed
        )
    text = msgspec.json.format(msgspec.json.encode(measured(path, card)), indent=2)
    beside.write_bytes(text + b"\n")
    print(text.decode(), flush=True)


if __name__ == "__main__":
    main()
