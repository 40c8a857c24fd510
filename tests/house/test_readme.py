"""What the README and its neighbours say can be typed, and what they point to is there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from tests.support.tree import free_port, run_cli, running

from saccade.demo.assets import demo_model_path
from saccade.demo.clips import render_clip

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name != "settings.md"  # made from the settings, which have tests of their own
)
SOURCE = {"PYTHONPATH": str(ROOT / "src")}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def commands(text: str) -> list[list[str]]:
    """Return the `saccade` commands of the shell blocks, without comments."""
    lines = [line for block in blocks(text, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("saccade ")]


def anchors(text: str) -> set[str]:
    """Return what a link may name in a document, as GitHub makes it from headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in headings}


def test_it_opens_with_a_sentence_three_commands_and_a_picture() -> None:
    title, sentence, command_block, picture = README.split("\n\n")[:4]
    assert title == "# saccade"
    assert sentence.count(". ") == 0
    assert sentence.endswith(".")
    assert len(command_block.splitlines()) == 5
    assert picture.startswith("![")


def test_it_is_short_enough_to_be_read() -> None:
    assert README.count("\n") < 180


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_linked_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def test_every_make_target_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for path in DOCUMENTS:
        for block in blocks(path.read_text(encoding="utf-8"), "bash"):
            named = set(re.findall(r"^(?:.*&& )?make ([a-z-]+)", block, re.M))
            assert named <= targets, path.name


@pytest.mark.slow
def test_its_commands_do_what_it_says_in_this_order(tmp_path: Path) -> None:
    """Run all but `up`, with the demo's model and a clip where a user's own would be."""
    shutil.copy(demo_model_path(), tmp_path / "detector.onnx")
    render_clip(tmp_path / "clip.mp4", seed=70_004, seconds=2.0)
    _picture(tmp_path / "bus.jpg")
    port = {"SACCADE_SERVER__PORT": str(free_port())}  # `check` looks whether it is free
    assert len(commands(README)) >= 6
    for command in commands(README):
        if command[0] == "up":
            continue
        # What only a user has: labels of her model, a camera in her network.
        typed = ["clip.mp4" if word.startswith("rtsp://") else word for word in command]
        if "--labels" in typed:
            del typed[typed.index("--labels") : typed.index("--labels") + 2]
        answer = run_cli(*typed, cwd=tmp_path, env={**SOURCE, **port})
        assert answer.returncode == 0, (typed, answer.stdout, answer.stderr)
    assert (tmp_path / "saccade.yaml").exists()
    assert (tmp_path / "seen.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_its_settings_are_right(tmp_path: Path) -> None:
    (block,) = blocks(README, "yaml")
    shutil.copy(demo_model_path(), tmp_path / "detector.onnx")
    text = block.replace("models/detector.onnx", "detector.onnx").replace("labels: coco, ", "")
    (tmp_path / "saccade.yaml").write_text(f"server: {{port: {free_port()}}}\n{text}")
    answer = run_cli("check", cwd=tmp_path, env=SOURCE)
    assert "wrong  " not in answer.stdout.replace("camera front", ""), answer.stdout
    assert "unknown key" not in answer.stdout


@pytest.mark.tree
def test_up_serves_what_its_table_of_the_api_names(tmp_path: Path) -> None:
    settings = {"server": {"pages": False}, "models": {"m": {"path": str(demo_model_path())}}}
    with running(tmp_path, settings) as tree:
        served = tree.get("/openapi.json").json()["paths"]
    table = README.split("## API")[1].split("\n## ")[0]
    for path in re.findall(r"`(?:[A-Z, ]+ )?(/[^`]*)`", table):
        if path.startswith("/ws") or path == "/docs":
            continue
        pattern = re.sub(r"\{\w+\}", r"{\\w+}", path)
        assert any(re.fullmatch(pattern, known) for known in served), path


def _picture(path: Path) -> None:
    import cv2
    import numpy as np

    shades = np.tile(np.arange(0, 240, dtype=np.uint8)[:, None, None], (1, 320, 3))
    cv2.imwrite(str(path), shades)
