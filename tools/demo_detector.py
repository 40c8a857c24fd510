"""The demo detector's network and its loss, in plain PyTorch.

A small anchor-free detector: depthwise-separable convolutions, three strides joined top-down, and
at each place of each stride four distances to the box's sides and one score for each class.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
HEIGHT, WIDTH = 192, 320
_TOP_K = 10  # places that may answer for one object


class Sep(nn.Module):
    """Depthwise then pointwise convolution; adds its input where the shapes allow."""

    def __init__(self, c_in: int, c_out: int, *, stride: int = 1, kernel: int = 3) -> None:
        super().__init__()
        self.adds = stride == 1 and c_in == c_out
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_in, kernel, stride, kernel // 2, groups=c_in, bias=False),
            nn.BatchNorm2d(c_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(c_in, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c_in, h, w) to (b, c_out, h / stride, w / stride)."""
        y = self.body(x)
        return functional.relu(x + y if self.adds else y)


def _lateral(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
    )


class Head(nn.Module):
    """Scores and distances at one stride."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            Sep(width, width, kernel=5), Sep(width, width), nn.Conv2d(width, classes, 1)
        )
        self.sides = nn.Sequential(
            Sep(width, width, kernel=5), Sep(width, width), nn.Conv2d(width, 4, 1)
        )
        # Nearly every place is empty: start by saying so, or the first steps only learn that.
        nn.init.constant_(self.scores[-1].bias, -4.6)
        nn.init.constant_(self.sides[-1].bias, 2.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, width, h, w) to (b, 4 + classes, h * w): distances in strides, then logits."""
        return torch.cat([functional.softplus(self.sides(x)), self.scores(x)], 1).flatten(2)


class DemoDetector(nn.Module):
    """The whole network for pictures of 192x320.

    Args:
        classes: how many.
        width: channels where the three strides are joined.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            Sep(16, 32, stride=2), Sep(32, 32),
        )  # fmt: skip
        self.at8 = nn.Sequential(Sep(32, 64, stride=2), Sep(64, 64), Sep(64, 64))
        self.at16 = nn.Sequential(Sep(64, 128, stride=2), Sep(128, 128), Sep(128, 128, kernel=5))
        self.at32 = nn.Sequential(Sep(128, 160, stride=2), Sep(160, 160, kernel=5))
        self.into8, self.into16 = _lateral(64, width), _lateral(128, width)
        self.into32 = _lateral(160, width)
        self.join16, self.join8 = Sep(width, width), Sep(width, width)
        self.heads = nn.ModuleList(Head(width, classes) for _ in STRIDES)
        places, strides = [], []
        for stride in STRIDES:
            y, x = torch.meshgrid(
                torch.arange(HEIGHT // stride), torch.arange(WIDTH // stride), indexing="ij"
            )
            places.append((torch.stack([x.flatten(), y.flatten()]) + 0.5) * stride)
            strides.append(torch.full((1, x.numel()), float(stride)))
        self.register_buffer("places", torch.cat(places, 1), persistent=False)  # (2, a)
        self.register_buffer("strides", torch.cat(strides, 1), persistent=False)  # (1, a)

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (b, 4, a) as x0, y0, x1, y1 in input pixels, and logits (b, classes, a)."""
        c8 = self.at8(self.stem(images))
        c16 = self.at16(c8)
        p32 = self.into32(self.at32(c16))
        p16 = self.join16(
            self.into16(c16) + functional.interpolate(p32, scale_factor=2.0, mode="nearest")
        )
        p8 = self.join8(
            self.into8(c8) + functional.interpolate(p16, scale_factor=2.0, mode="nearest")
        )
        found = torch.cat(
            [head(level) for head, level in zip(self.heads, (p8, p16, p32), strict=True)], 2
        )
        sides = found[:, :4] * self.strides
        return torch.cat([self.places - sides[:, :2], self.places + sides[:, 2:]], 1), found[:, 4:]

    def forward(self, images: Tensor) -> Tensor:
        """Map (b, 3, 192, 320) RGB 0..1 to (b, 4 + classes, a): cx, cy, w, h, probabilities."""
        boxes, logits = self.raw(images)
        low, high = boxes[:, :2], boxes[:, 2:]
        return torch.cat([(low + high) * 0.5, high - low, logits.sigmoid()], 1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and generalised IoU of boxes whose last dimension is x0, y0, x1, y1.

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
    """
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    iou = shared / union.clamp(min=1e-6)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, places: Tensor, truth: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Decide which places answer for which object, by how well they already do.

    Source: Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, section 3.2,
    with alpha 0.5 and beta 6.

    Args:
        boxes: (b, a, 4) predicted, x0, y0, x1, y1.
        scores: (b, a, classes) predicted probabilities.
        places: (a, 2) centres.
        truth: (b, m, 4) true boxes, zeros where there is none.
        labels: (b, m) classes, -1 where there is no object.

    Returns:
        The object of each place (b, a) int64, whether it has one (b, a) bool, and its target
        score (b, a), 0 where it has none.
    """
    real = labels >= 0
    iou = overlap(boxes[:, None], truth[:, :, None])[0]  # (b, m, a)
    at = labels.clamp(min=0)[..., None].expand(-1, -1, boxes.shape[1])
    score = scores.transpose(1, 2).gather(1, at)
    inside = torch.cat([places - truth[:, :, None, :2], truth[:, :, None, 2:] - places], -1)
    fits = (inside.amin(-1) > 0) & real[..., None]
    quality = score.sqrt() * iou.pow(6) * fits
    best = quality.topk(_TOP_K, -1)
    chosen = torch.zeros_like(fits).scatter_(-1, best.indices, True) & fits
    # A place that two objects want goes to the one it overlaps more.
    iou_if = torch.where(chosen, iou, -1.0)
    owner = iou_if.argmax(1)
    chosen &= torch.zeros_like(chosen).scatter_(1, owner[:, None], True)
    has = chosen.any(1)
    mine = quality * chosen
    scale = (iou * chosen).amax(-1, keepdim=True) / mine.amax(-1, keepdim=True).clamp(min=1e-9)
    return owner, has, (mine * scale).amax(1)


def loss(model: DemoDetector, images: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of one batch: scores by cross-entropy, boxes by generalised IoU.

    Args:
        model: in training mode.
        images: (b, 3, 192, 320) float 0..1.
        truth: (b, m, 4) float, input pixels.
        labels: (b, m) int64, -1 for padding.
    """
    boxes, logits = model.raw(images)
    boxes, logits = boxes.transpose(1, 2), logits.transpose(1, 2)
    owner, has, target = assign(
        boxes.detach(), logits.detach().sigmoid(), model.places.T, truth, labels
    )
    wanted = torch.zeros_like(logits)
    its_label = labels.clamp(min=0).gather(1, owner)
    wanted.scatter_(2, its_label[..., None], target[..., None])
    total = target.sum().clamp(min=1.0)
    by_score = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / total
    its_box = truth.gather(1, owner[..., None].expand(-1, -1, 4))
    giou = overlap(boxes[has], its_box[has])[1]
    by_box = ((1.0 - giou) * target[has]).sum() / total
    return by_score + 2.5 * by_box
