"""What the API says, and what the forms say to it."""

from __future__ import annotations

import json

import msgspec
import pytest

from saccade.errors import SaccadeError
from saccade.pages.api import RequestRefused, ServerUnreachable
from saccade.pages.camera_dialogs import CameraForm, check, error_text, field_of
from saccade.pages.contract import Event, Message, NewCamera, Problem, State
from saccade.pages.event_rows import data_text
from saccade.pages.overview import drops_by_reason, total_rate
from saccade.pages.site import process_lines
from tests.pages.fake_data import camera, event, rich_state


def test_a_state_with_everything_is_understood() -> None:
    state = msgspec.json.decode(json.dumps(rich_state()), type=State)
    assert state.cameras["back-yard"].fps is None
    assert state.models["kiosk-v3"].input == (416, 416)
    assert state.models["people"].metrics.p50_ms is None
    assert [line.name for line in process_lines(state.processes)][:2] == [
        "supervisor",
        "camera back-yard",
    ]


def test_what_a_newer_server_adds_is_ignored() -> None:
    raw = {"type": "news", "more": 1}
    assert msgspec.convert(raw, Message) == Message("news")
    first = {"at": 1.0, "health": {"ready": True, "since": 3}, "cameras": {"c": camera("c", new=1)}}
    assert msgspec.convert(first, State).cameras["c"].name == "C"


def test_the_least_a_server_may_say_is_enough() -> None:
    state = msgspec.convert({"at": 1.0, "health": {"ready": False}}, State)
    assert state.health.reasons == ()
    assert state.cameras == {}


def test_a_rate_that_nobody_measured_is_not_zero() -> None:
    assert total_rate([]) is None
    assert total_rate([None, None]) is None
    assert total_rate([None, 0.0]) == 0.0
    assert total_rate([1.5, None, 2.0]) == 3.5


def test_drops_are_summed_for_each_reason() -> None:
    state = msgspec.convert(rich_state(), State)
    assert drops_by_reason(list(state.cameras.values()))["busy"] == 3 * 31


def test_event_data_reads_as_pairs() -> None:
    shown = data_text(msgspec.convert(event(1, data={"label": "can", "box": [1, 2]}), Event))
    assert shown == "label can, box [1,2]"


@pytest.mark.parametrize(
    ("camera_id", "source", "fields"),
    [
        ("front-door", "rtsp://10.0.0.1/1", set()),
        ("", "rtsp://10.0.0.1/1", {"id"}),
        ("Front door", "x.mp4", {"id"}),
        ("front\n", "x.mp4", {"id"}),
        ("a" * 64, "x.mp4", {"id"}),
        ("a", "", {"source"}),
        ("-a", "", {"id", "source"}),
    ],
)
def test_a_form_that_cannot_work_is_not_sent(camera_id: str, source: str, fields: set[str]) -> None:
    assert set(check(NewCamera(id=camera_id, source=source))) == fields


def test_an_empty_field_of_the_form_is_left_out_of_the_request() -> None:
    form = msgspec.convert(
        {"id": " door ", "source": "a.mp4", "name": " ", "model": ""}, CameraForm
    )
    assert json.loads(msgspec.json.encode(form.camera())) == {"id": "door", "source": "a.mp4"}
    form = msgspec.convert({"id": "d", "source": "a.mp4", "loop": "on"}, CameraForm)
    assert json.loads(msgspec.json.encode(form.camera()))["loop"] is True


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (RequestRefused(Problem(code="conflict", detail="taken"), status=409), "id"),
        (RequestRefused(Problem(code="source_failed"), status=502), "source"),
        (RequestRefused(Problem(code="not_found", detail="no model"), status=404), "model"),
        (RequestRefused(Problem(code="bad_input", field="name"), status=422), "name"),
        (RequestRefused(Problem(code="bad_input", field="fps"), status=422), ""),
        (
            RequestRefused(Problem(code="bad_input", detail="source: no URL"), status=422),
            "source",
        ),
        (RequestRefused(Problem(code="bad_input", detail="id 'A' is invalid"), status=422), "id"),
        (RequestRefused(Problem(code="bad_input", detail="invalid"), status=422), ""),
        (RequestRefused(Problem(code="overloaded"), status=429), ""),
        (ServerUnreachable("away", fix="wait"), ""),
    ],
)
def test_an_error_of_the_api_is_said_beside_the_field_it_is_about(
    error: SaccadeError, field: str
) -> None:
    assert field_of(error) == field


def test_an_error_says_what_and_what_to_do() -> None:
    refused = RequestRefused(
        Problem(detail="port 554 refused", fix="check the address"), status=502
    )
    assert error_text(refused) == "port 554 refused. Check the address."
    assert error_text(RequestRefused(Problem(), status=500)) == "The server answered 500."
