"""The wire format of the Open Inference Protocol: sizes add up, or there is one clear error."""

from __future__ import annotations

import base64
import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import BadInput, SaccadeError, TooLarge
from saccade.server.detect import Seen
from saccade.server.detector_tensors import check_asked, images_of, outputs_of
from saccade.server.tensors import (
    JSON_BYTES_MOST,
    Datatype,
    Limits,
    Output,
    Request,
    encode_response,
    parse_request,
)
from saccade.vision.detections import Detections
from saccade.web.bodies import decompress

LIMITS = Limits(texts=4, numbers=1000)


def parse(said: Any, tail: bytes = b"") -> Request:
    head = json.dumps(said).encode()
    return parse_request(head + tail, str(len(head)) if tail else None, limits=LIMITS)


def image(**said: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "UINT8", **said}]}


def binary(size: int, **said: Any) -> dict[str, Any]:
    return image(parameters={"binary_data_size": size}, **said)


def element(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


@pytest.mark.parametrize("nested", [True, False])
def test_json_numbers_become_the_pixels_they_say(nested: bool) -> None:
    pixels = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    data = pixels.tolist() if nested else pixels.ravel().tolist()
    [one] = parse(image(shape=[2, 3, 4, 3], data=data)).inputs
    np.testing.assert_array_equal(one.data, pixels)


def test_binary_numbers_are_the_bodys_own_bytes() -> None:
    [one] = parse(binary(12, shape=[1, 2, 2, 3]), bytes(range(12))).inputs
    assert isinstance(one.data, np.ndarray)
    assert one.data.ravel().tolist() == list(range(12))
    assert not one.data.flags.owndata


def test_texts_come_as_base64_or_with_their_lengths() -> None:
    texts = [b"a", b"", b"\xff\x00"]
    coded = [base64.b64encode(t).decode() for t in texts]
    [one] = parse(image(shape=[3], data=coded, datatype="BYTES")).inputs
    assert [bytes(t) for t in one.data] == texts
    tail = b"".join(element(t) for t in texts)
    [two] = parse(binary(len(tail), shape=[3], datatype="BYTES"), tail).inputs
    assert [bytes(t) for t in two.data] == texts


def test_a_header_of_zero_makes_the_body_one_text() -> None:
    request = parse_request(b"\xff\xd8 no JSON", "0", limits=LIMITS)
    assert [bytes(t) for t in images_of(request)] == [b"\xff\xd8 no JSON"]


def test_parameters_and_outputs_are_as_the_client_said() -> None:
    request = parse(
        {
            "id": "7",
            "parameters": {"binary_data_output": True, "confidence": 1, "timeout": 250_000},
            "outputs": [
                {"name": "boxes"},
                {"name": "count", "parameters": {"binary_data": False}},
            ],
            **image(shape=[1, 1, 1, 3], data=[1, 2, 3]),
        }
    )
    assert (request.id, request.confidence, request.timeout_s) == ("7", 1.0, 0.25)
    assert [(o.name, o.is_binary) for o in request.outputs] == [("boxes", True), ("count", False)]
    assert [o.name for o in check_asked(request)] == ["boxes", "count"]


PIXEL = {"shape": [1, 1, 1, 3]}
TEXT = {"shape": [2], "datatype": "BYTES"}
BAD: dict[str, tuple[Any, bytes, str]] = {
    "no inputs member": ({}, b"", "inputs"),
    "not an object": ([], b"", "object"),
    "no shape": (image(data=[1]), b"", "shape"),
    "nine dimensions": (image(shape=[1] * 9, data=[1]), b"", "length"),
    "a negative dimension": (image(shape=[-1, 1, 1, 3], data=[1]), b"", ">= 1"),
    "a dimension of zero": (image(shape=[0, 1, 1, 3], data=[]), b"", ">= 1"),
    "a dimension with a point": (image(shape=[1.5], data=[1]), b"", "int"),
    "a shape of 2 to the 248": (image(shape=[2**31 - 1] * 8, data=[1]), b"", "at most 1000"),
    "a dimension of 2 to the 31": (image(shape=[2**31], data=[1]), b"", "2147483647"),
    "a dimension of 30 digits": (image(shape=[10**30], data=[1]), b"", "2147483647"),
    "too few numbers": (image(data=[1, 2], **PIXEL), b"", "2 came"),
    "too many numbers": (image(data=[1, 2, 3, 4], **PIXEL), b"", "4 came"),
    "no numbers": (image(data=[[]], **PIXEL), b"", "0 came"),
    "an empty list inside": (image(data=[[], [1, 2]], **PIXEL), b"", "else than numbers"),
    "256": (image(data=[1, 2, 256], **PIXEL), b"", "over 255"),
    "a huge number": (image(data=[1, 2, 10**40], **PIXEL), b"", "over 255"),
    "-1": (image(data=[1, 2, -1], **PIXEL), b"", "else than numbers"),
    "a fraction": (image(data=[1, 2, 0.5], **PIXEL), b"", "else than numbers"),
    "null among numbers": (image(data=[1, 2, None], **PIXEL), b"", "else than numbers"),
    "text for numbers": (image(data="123", **PIXEL), b"", "no list"),
    "a number for numbers": (image(data=123, **PIXEL), b"", "no list"),
    "FP32": (image(shape=[3], data=[1, 2, 3], datatype="FP32"), b"", "FP32"),
    "a datatype nobody knows": (image(shape=[3], data=[], datatype="X" * 999), b"", "XXX…"),
    "no data": (image(**PIXEL), b"", "no data"),
    "data twice": (binary(3, data=[1, 2, 3], **PIXEL), b"abc", "twice"),
    "fewer bytes than said": (binary(4, **PIXEL), b"abc", "3 are left"),
    "fewer bytes than the shape": (binary(2, **PIXEL), b"ab", "2 came"),
    "bytes after the end": (binary(3, **PIXEL), b"abcd", "belong to none"),
    "a negative size": (binary(-1, **PIXEL), b"abc", ">= 0"),
    "shared memory": (image(parameters={"shared_memory_region": "a"}, **PIXEL), b"", "shared"),
    "five texts": (image(shape=[5], data=[""] * 5, datatype="BYTES"), b"", "at most 4"),
    "text that is no base64": (image(data=["a!", ""], **TEXT), b"", "base64"),
    "text that is not ASCII": (image(data=["é", ""], **TEXT), b"", "base64"),
    "one text of two": (image(data=[""], **TEXT), b"", "1 came"),
    "a text's length beyond the end": (binary(5, **TEXT), b"\xff\xff\xff\xffa", "4294967295"),
    "one binary text of two": (binary(5, **TEXT), element(b"a"), "1 came"),
    "three binary texts of two": (binary(15, **TEXT), element(b"a") * 3, "5 bytes after"),
    "half a length": (binary(7, **TEXT), element(b"a") + b"\0\0", "2 bytes after"),
    "a misspelt parameter": ({"parameters": {"confidance": 1}, "inputs": []}, b"", "confidance"),
    "confidence over 1": ({"parameters": {"confidence": 1.1}, "inputs": []}, b"", "<= 1"),
    "a true confidence": ({"parameters": {"confidence": True}, "inputs": []}, b"", "float"),
    "classification": (
        {"outputs": [{"name": "a", "parameters": {"classification": 1}}], "inputs": []},
        b"",
        "classification",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_add_up_is_named(name: str) -> None:
    said, tail, words = BAD[name]
    with pytest.raises(BadInput) as caught:
        parse(said, tail)
    assert words in str(caught.value)
    assert caught.value.fix
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("length", ["-1", "+1", "1.0", "", "²", "9" * 5000, "0x1", " 2", "3"])
def test_a_header_that_is_no_length_of_json_is_refused(length: str) -> None:
    with pytest.raises(BadInput, match="Inference-Header-Content-Length"):
        parse_request(b"{}", length, limits=LIMITS)


@pytest.mark.parametrize("inside", [b"[" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("before", [b"", b'{"inputs":', b'{"x":', b'{"inputs":[{"data":'])
def test_deep_json_is_an_error_and_no_crash(before: bytes, inside: bytes) -> None:
    with pytest.raises(BadInput):
        parse_request(before + inside, None, limits=LIMITS)


def test_more_json_than_is_read_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match="binary"):
        parse_request(b" " * (JSON_BYTES_MOST + 1), None, limits=LIMITS)


NAMES = st.sampled_from(["image", "data", "", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
INPUTS = st.fixed_dictionaries(
    {"name": NAMES | VALUES},
    optional={
        "datatype": st.sampled_from(["UINT8", "BYTES", "FP32", ""]) | VALUES,
        "shape": st.lists(st.integers(-1, 4) | st.integers(), max_size=5) | VALUES,
        "data": VALUES | st.lists(st.integers(-1, 256), max_size=20),
        "parameters": st.fixed_dictionaries(
            {}, optional={"binary_data_size": st.integers(-1, 40) | VALUES}
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(INPUTS, max_size=3) | VALUES},
    optional={"id": VALUES, "outputs": VALUES, "parameters": VALUES},
)


@settings(max_examples=300, deadline=None)
@given(REQUESTS, st.binary(max_size=40), st.none() | st.text(max_size=4) | st.integers(-1, 9))
def test_nothing_but_our_own_error_comes_out_of_a_made_up_request(
    said: Any, tail: bytes, length: str | int | None
) -> None:
    head = json.dumps(said).encode()
    body = head + tail
    for one in (None if length is None else str(length), str(len(head))):
        try:
            request = parse_request(body, one, limits=LIMITS)
            images = images_of(request)
        except SaccadeError:
            continue
        assert 1 <= len(images) <= LIMITS.numbers


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.none() | st.integers(0, 210).map(str))
def test_nothing_but_our_own_error_comes_out_of_any_bytes(body: bytes, length: str | None) -> None:
    with contextlib.suppress(BadInput):
        parse_request(body, length, limits=LIMITS)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_changed_byte_of_a_good_request_never_brings_something_else(data: Any) -> None:
    head = json.dumps(binary(12, shape=[1, 2, 2, 3])).encode()
    body = bytearray(head + bytes(12))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = parse_request(bytes(body), str(len(head)), limits=LIMITS)
    except SaccadeError:
        return
    assert sum(len(one.data) for one in request.inputs) >= 1


@given(st.binary(max_size=60), st.sampled_from(["gzip", "deflate", "GZIP", "br", "", "identity"]))
def test_nothing_but_our_own_error_comes_out_of_a_compressed_body(body: bytes, kind: str) -> None:
    with contextlib.suppress(BadInput):
        assert len(decompress(body, kind, 50)) <= max(50, len(body))


# ---------------------------------------------------------------- out

LABELS = ("can", "bottle")


def seen(count: int) -> Seen:
    boxes = np.arange(count * 4, dtype=np.float32).reshape(count, 4)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    classes = np.arange(count, dtype=np.int32)
    return Seen(Detections(boxes, scores, classes), LABELS, 640, 360, 1.0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_rows_are_as_long_as_the_longest_and_pads_cannot_pass_for_detections(
    counts: list[int],
) -> None:
    outputs = outputs_of([seen(count) for count in counts])
    n, k = len(counts), max(counts)
    assert outputs["boxes"].shape == (n, k, 4)
    assert outputs["count"].data.tolist() == counts  # type: ignore[union-attr]
    scores = np.asarray(outputs["scores"].data)
    assert ((scores >= 0).sum(axis=1) == counts).all()
    assert (scores[scores < 0] == -1).all()
    labels = outputs["labels"].data
    assert len(labels) == n * k
    names = ["can", "bottle", "2", "3"]  # a class without a name is its number
    for row, count in enumerate(counts):
        assert list(labels[row * k : (row + 1) * k]) == names[:count] + [""] * (k - count)


def test_bytes_follow_the_json_in_the_order_of_their_outputs() -> None:
    outputs = [
        (Output("labels", Datatype.BYTES, (2,), ["é", ""]), True),
        (Output("count", Datatype.INT32, (1,), np.array([7], np.int32)), False),
        (Output("scores", Datatype.FP32, (1,), np.array([0.5], np.float32)), True),
    ]
    body, length = encode_response(outputs, model="m", version="1", request_id="")
    assert length is not None
    said = json.loads(body[:length])
    assert said == {
        "model_name": "m",
        "model_version": "1",
        "outputs": [
            {
                "name": "labels",
                "datatype": "BYTES",
                "shape": [2],
                "parameters": {"binary_data_size": 10},
            },
            {"name": "count", "datatype": "INT32", "shape": [1], "data": [7]},
            {
                "name": "scores",
                "datatype": "FP32",
                "shape": [1],
                "parameters": {"binary_data_size": 4},
            },
        ],
    }
    assert body[length:] == element("é".encode()) + element(b"") + struct.pack("<f", 0.5)


def test_a_response_without_bytes_has_no_header_length() -> None:
    output = Output("boxes", Datatype.FP32, (1, 0, 4), np.zeros((1, 0, 4), np.float32))
    body, length = encode_response([(output, False)], model="m", version="1", request_id="a")
    assert length is None
    assert json.loads(body)["outputs"][0]["data"] == []
    assert json.loads(body)["id"] == "a"
