"""The drawn kiosk: the same for the same seed, any frame in any order, and its truth is true."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.demo.drawing import Light
from saccade.demo.scene import CLASS_NAMES, KioskScene, Label, Truth
from saccade.demo.sprites import Sprite, make_sprite, place
from saccade.errors import BadInput


@cache
def scene(seed: int) -> KioskScene:
    return KioskScene(seed)


def test_the_same_seed_gives_the_same_pictures_and_truths() -> None:
    first, second = KioskScene(41), KioskScene(41)
    for index in (0, 7, 333):
        picture, truths = first.render(index)
        again, truths_again = second.render(index)
        assert np.array_equal(picture, again)
        assert truths == truths_again


def test_another_seed_gives_another_picture() -> None:
    assert not np.array_equal(scene(1).render(0)[0], scene(2).render(0)[0])


def test_a_frame_does_not_depend_on_the_frames_asked_for_before() -> None:
    fresh = KioskScene(42)
    expected, expected_truths = fresh.render(200)
    used = KioskScene(42)
    for index in (599, 3, 201, 200, 10):
        used.render(index)
    picture, truths = used.render(200)
    assert np.array_equal(picture, expected)
    assert truths == expected_truths


def test_changing_a_returned_picture_changes_no_later_one() -> None:
    expected = scene(3).render(5)[0].copy()
    scene(3).render(5)[0][:] = 0
    assert np.array_equal(scene(3).render(5)[0], expected)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([11, 12, 13, 14]), st.integers(-10_000, 10_000))
def test_truths_lie_inside_the_picture(seed: int, index: int) -> None:
    picture, truths = scene(seed).render(index)
    assert picture.shape == (360, 640, 3)
    assert picture.dtype == np.uint8
    for truth in truths:
        x0, y0, x1, y1 = truth.box_px
        assert 0 <= x0 < x1 <= 640
        assert 0 <= y0 < y1 <= 360


@pytest.mark.parametrize(("width", "height"), [(64, 64), (320, 180), (481, 271), (1280, 720)])
def test_any_size_of_picture_is_drawn(width: int, height: int) -> None:
    small = KioskScene(5, width, height)
    seen = 0
    for index in range(0, small.loop_frames, 60):
        picture, truths = small.render(index)
        assert picture.shape == (height, width, 3)
        seen += len(truths)
        assert all(t.box_px[2] <= width and t.box_px[3] <= height for t in truths)
    assert seen > 0


def test_a_scene_shows_every_class_and_is_sometimes_empty_and_sometimes_crowded() -> None:
    counts, labels = set(), set()
    for seed in (21, 22, 23):
        for index in range(0, 600, 15):
            truths = scene(seed).render(index)[1]
            counts.add(len(truths))
            labels |= {truth.label for truth in truths}
    assert labels == set(Label)
    assert {0, 1, 2, 3} <= counts


def test_the_classes_are_named_in_the_order_of_the_models_outputs() -> None:
    assert CLASS_NAMES == ("bottle", "can", "carton")


def _centres(truths: list[Truth]) -> list[tuple[str, float]]:
    """Labels and centres of the objects that are wholly in view."""
    whole = [t for t in truths if t.box_px[0] > 40 and t.box_px[2] < 600]
    return [(t.label.value, (t.box_px[0] + t.box_px[2]) / 2) for t in whole]


def test_the_end_of_a_loop_meets_its_start() -> None:
    joined = 0
    for seed in (31, 32, 33, 34):
        looped = KioskScene(seed, loop_frames=240)
        assert np.array_equal(looped.render(240)[0], looped.render(0)[0])
        end, start = looped.render(239)[1], looped.render(0)[1]
        step = abs(looped.render(1)[1][0].box_px[0] - start[0].box_px[0]) if start else 0.0
        for (label, x), (label_after, x_after) in zip(_centres(end), _centres(start), strict=False):
            joined += 1
            assert label == label_after
            assert abs(x_after - x) <= max(step, 12.0) + 1.5  # one frame's way, not a jump
    assert joined > 0


def test_objects_stay_the_same_size_while_they_are_wholly_in_view() -> None:
    sizes: dict[int, list[float]] = {}
    for index in range(60):
        for truth in scene(24).render(index)[1]:
            x0, y0, x1, y1 = truth.box_px
            if x0 > 2 and x1 < 638:
                sizes.setdefault(round(y0 / 4), []).append((x1 - x0) * (y1 - y0))
    assert sizes
    for areas in sizes.values():
        assert max(areas) - min(areas) < 0.12 * max(areas)


@cache
def sprite_of(label: Label, angle: float) -> Sprite:
    return make_sprite(
        label,
        np.random.default_rng(1),
        light=Light(0.3, -0.4, 0.866),
        angle_rad=angle,
        px_per_mm=1.0,
    )


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(list(Label)), st.sampled_from([0.0, 0.7, -1.5]),
    st.integers(-150, 450), st.integers(-150, 350),
)  # fmt: skip
def test_what_is_seen_of_an_object_is_the_part_inside_the_picture(
    label: Label, angle: float, left: int, top: int
) -> None:
    sprite = sprite_of(label, angle)
    high, wide = sprite.mask.shape
    canvas = np.zeros((200 + 2 * 500, 300 + 2 * 500), bool)  # the picture in the middle of much
    canvas[500 + top : 500 + top + high, 500 + left : 500 + left + wide] = sprite.mask > 0.5
    inside = canvas[500:700, 500:800]
    seen = place(np.zeros((200, 300, 3), np.uint8), sprite, left + wide / 2, top + high / 2)
    if not inside.any():
        assert seen is None
        return
    y, x = np.nonzero(inside)
    assert seen is not None
    assert seen.box_px == (x.min(), y.min(), x.max() + 1, y.max() + 1)
    assert seen.share == pytest.approx(inside.sum() / canvas.sum())


def test_an_object_on_its_way_out_is_true_until_about_two_fifths_of_it_are_left() -> None:
    left = []
    for seed in (51, 52, 53):
        alone: list[float] = []  # widths of the one object in view, frame after frame
        for index in range(450):
            truths = scene(seed).render(index)[1]
            if len(truths) == 1:
                x0, _, x1, _ = truths[0].box_px
                alone.append(x1 - x0)
                continue
            if not truths and len(alone) > 20:
                left.append(alone[-1] / max(alone))
            alone = []
    assert left
    # Of its width, that is: a bottle's last two fifths are less than that of its foot's end and
    # more of its neck's.
    assert all(0.2 < share < 0.7 for share in left)


@pytest.mark.parametrize("label", list(Label))
@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0, -1.5])
def test_a_sprite_hides_what_is_behind_it_only_where_it_or_its_shadow_is(
    label: Label, angle: float
) -> None:
    sprite = sprite_of(label, angle)
    for layer in (sprite.colour, sprite.cover, sprite.mask):
        assert np.isfinite(layer).all()
        assert not layer[0].any()  # nothing is cut off at the canvas's edge
        assert not layer[:, -1].any()
    assert 0 <= sprite.cover.min() <= sprite.cover.max() <= 1.001
    behind = sprite.mask > 0.99
    seen_through = float(1 - sprite.cover[behind].mean())
    assert (seen_through > 0.1) == (label is Label.BOTTLE)  # only the bottle is clear


def test_objects_can_be_put_on_another_backdrop() -> None:
    grey = np.full((360, 640, 3), 90, np.uint8)
    picture, truths = scene(11).render(30, backdrop=grey)
    assert truths == scene(11).render(30)[1]
    assert not np.array_equal(picture, scene(11).render(30)[0])
    assert (grey == 90).all()
    with pytest.raises(BadInput, match="shape"):
        scene(11).render(30, backdrop=grey[:100])


@pytest.mark.parametrize(
    ("width", "height", "fps", "loop"),
    [(63, 360, 15.0, None), (640, 10, 15.0, None), (640, 360, 0.0, None), (640, 360, 15.0, 0)],
)
def test_a_scene_that_cannot_be_drawn_is_refused(
    width: int, height: int, fps: float, loop: int | None
) -> None:
    with pytest.raises(BadInput):
        KioskScene(1, width, height, fps, loop_frames=loop)
