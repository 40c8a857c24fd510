"""The Open Inference Protocol, asked by the stock client of Triton and by hand."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from saccade.demo.assets import demo_model_path
from saccade.demo.scene import KioskScene
from tests.support.tree import Tree, running, until

pytestmark = pytest.mark.tree

MODEL = "kiosk-demo"
OUTPUTS = ("boxes", "scores", "classes", "labels", "count")


def pictures() -> tuple[NDArray[np.uint8], list[list[str]]]:
    """Return three RGB pictures of the belt, (3, 360, 640, 3), and the labels on each."""
    scene = KioskScene(70_005)
    chosen: list[NDArray[np.uint8]] = []
    labels: list[list[str]] = []
    # From frame 60: the one before it with a single thing shows the corner of a second.
    for wanted, first in ((2, 0), (0, 0), (1, 60)):
        for index in range(first, 900, 5):
            bgr, truths = scene.render(index)
            if len(truths) == wanted:
                chosen.append(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
                labels.append(sorted(str(t.label) for t in truths))
                break
    assert len(chosen) == 3
    return np.stack(chosen), labels


def png(rgb: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()


@pytest.fixture
def client(demo: Tree) -> Iterator[triton.InferenceServerClient]:
    found = triton.InferenceServerClient(f"127.0.0.1:{demo.port}", network_timeout=30)
    yield found
    found.close()


def pixels_input(rgb: NDArray[np.uint8], *, binary: bool = True) -> Any:
    found = triton.InferInput("image", list(rgb.shape), "UINT8")
    found.set_data_from_numpy(rgb, binary_data=binary)
    return found


def encoded_input(images: list[bytes]) -> Any:
    found = triton.InferInput("image", [len(images)], "BYTES")
    found.set_data_from_numpy(np.array(images, np.object_))
    return found


def check(result: Any, labels: list[list[str]]) -> None:
    """Check every output against what is on the pictures, and the pads."""
    counts = result.as_numpy("count")
    assert counts.dtype == np.int32
    assert counts.tolist() == [len(row) for row in labels]
    n, k = len(labels), max(len(row) for row in labels)
    boxes, scores = result.as_numpy("boxes"), result.as_numpy("scores")
    classes, names = result.as_numpy("classes"), result.as_numpy("labels")
    assert boxes.shape == (n, k, 4)
    assert scores.shape == classes.shape == names.shape == (n, k)
    for row, count in enumerate(counts.tolist()):
        said = [v.decode() if isinstance(v, bytes) else v for v in names[row].tolist()]
        assert sorted(said[:count]) == labels[row]
        assert set(said[count:]) <= {""}
        assert (scores[row, :count] >= 0.35).all()
        assert (scores[row, count:] == -1).all()
        assert (classes[row, :count] >= 0).all()
        assert (classes[row, count:] == -1).all()
        assert (boxes[row, :count, 2:] > boxes[row, :count, :2]).all()
        assert not boxes[row, count:].any()


def test_the_stock_client_finds_a_live_and_ready_server(
    client: triton.InferenceServerClient,
) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready(MODEL, "2")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "saccade"


@pytest.mark.parametrize("version", ["", "1"])
def test_metadata_configuration_and_statistics_agree(
    client: triton.InferenceServerClient, version: str
) -> None:
    said = client.get_model_metadata(MODEL, version)
    assert said["versions"] == ["1"]
    assert [t["name"] for t in said["inputs"]] == ["image"]
    assert tuple(t["name"] for t in said["outputs"]) == OUTPUTS
    config = client.get_model_config(MODEL, version)
    assert config["max_batch_size"] == 8
    for ours, theirs in zip(said["outputs"], config["output"], strict=True):
        assert theirs["dims"] == ours["shape"][1:]
    [stats] = client.get_inference_statistics(MODEL, version)["model_stats"]
    assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] > 0
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert client.get_inference_statistics()["model_stats"][0]["name"] == MODEL


def test_the_index_names_every_model_with_its_state(client: triton.InferenceServerClient) -> None:
    [entry] = client.get_model_repository_index()
    assert (entry["name"], entry["version"], entry["state"]) == (MODEL, "1", "READY")


@pytest.mark.parametrize("kind", ["pixels", "encoded"])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_several_images_at_once_are_answered_in_their_order(
    client: triton.InferenceServerClient, kind: str, compression: str | None
) -> None:
    rgb, labels = pictures()
    given = pixels_input(rgb) if kind == "pixels" else encoded_input([png(one) for one in rgb])
    result = client.infer(
        MODEL, [given], model_version="1", request_compression_algorithm=compression
    )
    check(result, labels)
    assert result.get_response()["model_name"] == MODEL
    assert result.get_response()["model_version"] == "1"


def test_pixels_as_json_numbers_are_the_same_pixels(client: triton.InferenceServerClient) -> None:
    rgb, labels = pictures()
    check(client.infer(MODEL, [pixels_input(rgb, binary=False)]), labels)


def test_encoded_and_raw_pixels_are_seen_alike_by_both_doors(
    demo: Tree, client: triton.InferenceServerClient
) -> None:
    rgb, _labels = pictures()
    as_pixels = client.infer(MODEL, [pixels_input(rgb[:1])]).as_numpy("boxes")[0]
    as_file = client.infer(MODEL, [encoded_input([png(rgb[0])])]).as_numpy("boxes")[0]
    np.testing.assert_array_equal(as_pixels, as_file)
    other = demo.post("/api/detect", content=png(rgb[0])).json()["detections"]
    np.testing.assert_allclose(as_pixels, [d["bbox"] for d in other], atol=0.006)


@pytest.mark.parametrize("binary", [True, False])
def test_only_the_outputs_that_were_asked_for_come(
    client: triton.InferenceServerClient, binary: bool
) -> None:
    rgb, labels = pictures()
    asked = [
        triton.InferRequestedOutput("labels", binary_data=binary),
        triton.InferRequestedOutput("count", binary_data=not binary),
    ]
    result = client.infer(MODEL, [pixels_input(rgb)], outputs=asked, request_id="seven")
    assert result.get_response()["id"] == "seven"
    assert [o["name"] for o in result.get_response()["outputs"]] == ["labels", "count"]
    assert result.as_numpy("count").tolist() == [2, 0, 1]
    assert result.as_numpy("labels").shape == (3, 2)
    assert result.as_numpy("boxes") is None
    assert labels[1] == []


def test_a_picture_with_nothing_on_it_has_no_columns(client: triton.InferenceServerClient) -> None:
    rgb, _labels = pictures()
    result = client.infer(MODEL, [pixels_input(rgb[1:2])])
    assert result.as_numpy("count").tolist() == [0]
    assert result.as_numpy("boxes").shape == (1, 0, 4)
    assert result.as_numpy("labels").shape == (1, 0)


def test_confidence_leaves_out_less_sure_ones(client: triton.InferenceServerClient) -> None:
    rgb, _labels = pictures()
    result = client.infer(MODEL, [pixels_input(rgb)], parameters={"confidence": 1.0})
    assert result.as_numpy("count").tolist() == [0, 0, 0]


def test_several_requests_of_the_asynchronous_client_are_all_answered(
    client: triton.InferenceServerClient,
) -> None:
    rgb, labels = pictures()
    waiting = [client.async_infer(MODEL, [pixels_input(rgb)]) for _ in range(4)]
    for one in waiting:
        check(one.get_result(), labels)


def test_a_client_that_waits_a_microsecond_is_told_that_it_was_too_short(
    client: triton.InferenceServerClient,
) -> None:
    rgb, _labels = pictures()
    with pytest.raises(InferenceServerException) as caught:
        client.infer(MODEL, [pixels_input(rgb)], timeout=1)
    assert caught.value.status() == "504"


def test_many_requests_of_many_images_are_all_answered_or_sent_away_with_a_time(
    demo: Tree,
) -> None:
    rgb, labels = pictures()
    texts = [base64.b64encode(png(one)).decode() for one in rgb]
    one = {"name": "image", "shape": [6], "datatype": "BYTES", "data": texts * 2}
    body = {"inputs": [one], "outputs": [{"name": "count"}]}
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=demo.url, timeout=30) as asker:
            answers.append(asker.post(f"/v2/models/{MODEL}/infer", json=body))

    askers = [threading.Thread(target=ask) for _ in range(12)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(answers) == 12
    for answer in answers:
        if answer.status_code == 200:
            assert answer.json()["outputs"][0]["data"] == [len(row) for row in labels] * 2
        else:
            assert_problem(answer, 429)
            assert int(answer.headers["retry-after"]) >= 1
    assert sum(a.status_code == 200 for a in answers) >= 5


def test_curl_may_send_base64_or_the_plain_file(demo: Tree) -> None:
    rgb, labels = pictures()
    text = base64.b64encode(png(rgb[0])).decode()
    body = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}]}
    said = demo.post(f"/v2/models/{MODEL}/infer", json=body)
    raw = demo.post(
        f"/v2/models/{MODEL}/infer",
        content=png(rgb[0]),
        headers={"inference-header-content-length": "0"},
    )
    assert said.json() == raw.json()
    assert "inference-header-content-length" not in said.headers
    found = {o["name"]: o["data"] for o in said.json()["outputs"]}
    assert sorted(found["labels"]) == labels[0]


@pytest.mark.parametrize(
    ("why", "words", "ask"),
    [
        (422, "FP32", {"datatype": "FP32"}),
        (422, "RGB", {"shape": [360, 640, 3]}),
        (422, "needs", {"shape": [1, 360, 641, 3]}),
        (413, "at most", {"shape": [1 << 30, 1 << 30, 1 << 30, 3]}),
        (413, "at most", {"shape": [1, 1 << 30, 4, 3]}),
        (422, "int", {"shape": [-1, 360, 640, 3]}),
        (422, "named image", {"name": "pixels"}),
    ],
)
def test_the_client_is_told_what_is_wrong(
    demo: Tree, why: int, words: str, ask: dict[str, Any]
) -> None:
    rgb, _labels = pictures()
    one = {"name": "image", "shape": [1, 360, 640, 3], "datatype": "UINT8", **ask}
    said = json.dumps({"inputs": [{**one, "parameters": {"binary_data_size": 691_200}}]}).encode()
    answer = demo.post(
        f"/v2/models/{MODEL}/infer",
        content=said + rgb[0].tobytes(),
        headers={"inference-header-content-length": str(len(said))},
    )
    assert_problem(answer, why)
    assert words in answer.json()["error"]


def assert_problem(answer: httpx.Response, status: int) -> None:
    """Check that both kinds of clients can read the error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["detail"] in said["error"]
    assert said["fix"] in said["error"]
    assert "Traceback" not in answer.text


def test_the_stock_client_raises_what_the_problem_says(
    client: triton.InferenceServerClient,
) -> None:
    rgb, _labels = pictures()
    with pytest.raises(InferenceServerException, match=r"image 1: .*picture") as caught:
        client.infer(MODEL, [encoded_input([png(rgb[0]), b"hello, I am a picture"])])
    assert caught.value.status() == "422"
    with pytest.raises(InferenceServerException, match="confidance"):
        client.infer(MODEL, [pixels_input(rgb)], parameters={"confidance": 1.0})
    with pytest.raises(InferenceServerException, match="no output 'masks'"):
        client.infer(MODEL, [pixels_input(rgb)], outputs=[triton.InferRequestedOutput("masks")])
    with pytest.raises(InferenceServerException, match="saccade models add"):
        client.load_model(MODEL)
    with pytest.raises(InferenceServerException, match="known models: kiosk-demo"):
        client.infer("nobody", [pixels_input(rgb)])
    with pytest.raises(InferenceServerException, match="not here"):
        client.get_system_shared_memory_status()


def test_more_images_than_slots_are_refused(client: triton.InferenceServerClient) -> None:
    tiny = np.zeros((9, 4, 4, 3), np.uint8)
    with pytest.raises(InferenceServerException, match=r"9 images.*server\.slots"):
        client.infer(MODEL, [pixels_input(tiny)])
    with pytest.raises(InferenceServerException, match="9 elements"):
        client.infer(MODEL, [encoded_input([b"x"] * 9)])


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"[" * 200_000, {}, 422),
        (
            b'{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":' + b"[" * 99_999,
            {},
            422,
        ),
        (gzip.compress(bytes(200_000_000)), {"content-encoding": "gzip"}, 413),
        (zlib.compress(b"{}")[:-3], {"content-encoding": "deflate"}, 422),
        (b"{}", {"content-encoding": "br"}, 422),
        (b"{}", {"inference-header-content-length": "-1"}, 422),
        (b"{}", {"inference-header-content-length": "3"}, 422),
        (b" " * (9 << 20), {}, 413),
        (b"", {}, 422),
        (b'{"inputs":[]}', {}, 422),
    ],
    ids=["deep", "deep data", "bomb", "cut", "br", "negative", "long", "big", "empty", "none"],
)
def test_a_hostile_body_is_one_problem_and_kills_nothing(
    demo: Tree, body: bytes, headers: dict[str, str], status: int
) -> None:
    pids = demo.pids()
    answer = demo.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    assert_problem(answer, status)
    assert demo.pids() == pids


def test_an_address_the_protocol_does_not_have_is_a_problem_too(demo: Tree) -> None:
    assert_problem(demo.get("/v2/nothing"), 404)
    assert_problem(demo.post("/v2"), 404)
    assert_problem(demo.post("/v2/repository/index", content=b"[]"), 422)
    assert demo.post("/v2/repository/index", json={"ready": True}).json()[0]["state"] == "READY"


def test_readiness_is_of_each_model_and_true(tmp_path: Path) -> None:
    settings = {
        "server": {"pages": False},
        "hosts": {"second": {}},
        "models": {
            "good": {"path": str(demo_model_path())},
            "other": {"path": str(demo_model_path()), "host": "second"},
        },
    }
    with running(tmp_path, settings) as tree:
        client = triton.InferenceServerClient(f"127.0.0.1:{tree.port}", network_timeout=20)
        try:
            until(lambda: client.is_model_ready("other"), 30, "the second model is ready")
            tree.kill("host-second")
            until(lambda: not client.is_model_ready("other"), 5, "it is seen to be away")
            assert client.is_model_ready("good")
            assert client.is_server_ready()
            until(lambda: client.is_model_ready("other"), 30, "it is back")
        finally:
            client.close()
