"""What becomes of files that claim to be a model."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.models.builders import build_detector

from saccade.errors import BadInput, ModelFileInvalid, TooLarge
from saccade.guards.model_files import check_model_file, sha256_of

MODEL = build_detector().SerializeToString()
LIMIT = 10**7


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 10559934\n"


@pytest.mark.parametrize(
    ("data", "what", "fix"),
    [
        (b"", "is empty", "again"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "an HTML page", "direct link"),
        (b"\n  <html>sign in</html>", "an HTML page", "direct link"),
        (LFS, "a Git-LFS pointer", "git lfs pull"),
        (b"names: [a, b]\n", "a text file", "the .onnx file"),
        (b"Entry not found", "a text file", "the .onnx file"),
        (zipped("archive/data.pkl", "archive/version"), "a PyTorch checkpoint", "export"),
        (zipped("model/readme.md"), "a zip archive", "unpack"),
        (pickle.dumps({"model": 1}, protocol=2), "a Python pickle", "export"),
        (pickle.dumps({"model": 1}, protocol=4), "a Python pickle", "export"),
        (struct.pack("<Q", 15) + b'{"weight":1234}' + bytes(99), "safetensors", "export"),
        (b"\x1c\0\0\0TFL3" + bytes(50), "TensorFlow Lite", "ONNX"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5", "export"),
        (b'<?xml version="1.0"?><net name="x">', "XML", "ONNX"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip", "unpack"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "a JPEG", "onnx"),
        (bytes(1000), "not an ONNX model", "onnx"),
        (b"\x93\xd5A\x95<\xe4\x9d\xfa;\xfd", "not an ONNX model", "onnx"),
        (MODEL[:-1], "truncated", "again"),
        (MODEL[: len(MODEL) // 2], "truncated", "again"),
        (MODEL[:20], "truncated", "again"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_model_is_named_with_what_to_do(
    data: bytes, what: str, fix: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileInvalid, match=what) as caught:
        check_model_file(path, LIMIT)
    assert fix in caught.value.fix
    assert "model.onnx" in caught.value.what


def test_a_model_passes_and_one_byte_over_the_limit_does_not(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    check_model_file(path, len(MODEL))
    with pytest.raises(TooLarge, match=f"at most {len(MODEL) - 1:,}"):
        check_model_file(path, len(MODEL) - 1)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileInvalid, match=r"cannot be read: No such file"):
        check_model_file(tmp_path / "missing.onnx", LIMIT)
    with pytest.raises(ModelFileInvalid, match="is not a file"):
        check_model_file(tmp_path, LIMIT)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileInvalid, match="is not a file"):
        check_model_file(tmp_path / "pipe", LIMIT)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=0, max_size=8
    ),
    cut=st.integers(0, len(MODEL)),
)
def test_a_damaged_model_passes_or_is_bad_input(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(MODEL)
    for at, value in changes:
        data[at] = value
    path = tmp_path / "model.onnx"
    path.write_bytes(data[:cut])
    with contextlib.suppress(BadInput):
        check_model_file(path, LIMIT)


def with_weights_in(location: str, where: str = "initializer") -> bytes:
    """A model that keeps a tensor in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    nodes, weights = [helper.make_node("Add", ["x", "w"], ["y"])], [tensor]
    if where == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
        weights = []
    elif where == "subgraph":
        branch = helper.make_graph(
            [helper.make_node("Constant", [], ["b"], value=tensor)],
            "branch",
            [],
            [helper.make_tensor_value_info("b", 1, [4])],
        )
        nodes = [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)]
        weights = []
    x, y = (helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    model: onnx.ModelProto = helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("where", ["initializer", "constant", "subgraph"])
@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../weights.bin", "a/../../weights.bin", "..\\w.bin", "", "."]
)
def test_weights_outside_the_folder_are_refused(location: str, where: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    path = folder / "model.onnx"
    path.write_bytes(with_weights_in(location, where))
    with pytest.raises(ModelFileInvalid):
        check_model_file(path, LIMIT)


def test_weights_behind_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    path = folder / "model.onnx"
    path.write_bytes(with_weights_in("weights.bin"))
    with pytest.raises(ModelFileInvalid, match="outside its folder"):
        check_model_file(path, LIMIT)


def test_weights_beside_the_model_pass_when_they_are_there(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(with_weights_in("weights.bin"))
    with pytest.raises(ModelFileInvalid, match="which is not beside it"):
        check_model_file(path, LIMIT)
    (tmp_path / "weights.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    check_model_file(path, LIMIT)


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert sha256_of(path).startswith("ba7816bf8f01cfea414140de5dae2223")
