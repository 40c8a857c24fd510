"""The one subscription: when it is there, what it keeps, what it says when the server is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from saccade.errors import SaccadeError
from saccade.pages.api import AnswerInvalid, ApiClient, RequestRefused, ServerUnreachable
from saccade.pages.contract import Event, NewCamera, State
from saccade.pages.feed import FeedView, Link, StateFeed
from saccade.pages.settings import PagesSettings
from tests.pages.fake_api import FakeApi
from tests.pages.fake_data import problem, rich_state

SETTINGS = PagesSettings(
    feed_linger_seconds=0.05,
    feed_backoff_initial_seconds=0.01,
    feed_backoff_max_seconds=0.02,
    feed_flush_seconds=0.01,
    feed_max_events=10,
)
NOON = 1_700_000_000.0


class WallClock:
    """A clock whose wall time stands still."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return NOON


class Listener:
    """Keeps what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.views: list[FeedView] = []
        self.events: list[Event] = []
        self.deliveries: list[tuple[int, bool]] = []
        self._news = asyncio.Condition()

    def on_view(self, view: FeedView) -> None:
        self.views.append(view)
        self._wake()

    def on_events(self, events: Sequence[Event], *, missed: bool) -> None:
        self.events.extend(events)
        self.deliveries.append((len(events), missed))
        self._wake()

    def _wake(self) -> None:
        async def tell() -> None:
            async with self._news:
                self._news.notify_all()

        self._task = asyncio.get_running_loop().create_task(tell())

    async def until(self, is_so: Any) -> None:
        async def wait() -> None:
            async with self._news:
                await self._news.wait_for(is_so)

        await asyncio.wait_for(wait(), 5)

    async def until_link(self, link: Link) -> None:
        await self.until(lambda: self.views and self.views[-1].link is link)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeApi]:
    api = FakeApi(tmp_path)
    api.start()
    yield api
    api.stop()


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run in a thread: the browser tests keep a loop in this one."""
    errors: list[BaseException] = []

    def target() -> None:
        try:
            asyncio.run(coroutine)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


async def in_thread(do: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.to_thread(do, *args, **kwargs)


def test_it_is_subscribed_only_while_somebody_listens(server: FakeApi) -> None:
    async def scenario() -> None:
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=SETTINGS)
        assert feed.view == FeedView()
        first, second = Listener(), Listener()
        feed.add(first)
        await first.until_link(Link.LIVE)
        feed.add(second)
        # The second is told what is known at once, and nobody connects a second time.
        assert second.views[-1].link is Link.LIVE
        feed.remove(first)
        await in_thread(server.push_event)
        await second.until(lambda: second.events)
        assert (first.events, server.feed_count) == ([], 1)
        feed.remove(second)
        await in_thread(server.wait_no_feed)
        assert feed.view.link is Link.IDLE
        await feed.close()

    run(scenario())


def test_going_from_page_to_page_does_not_reconnect(server: FakeApi) -> None:
    async def scenario() -> None:
        feed = StateFeed(
            server.api_socket,
            clock=WallClock(),
            settings=msgspec.structs.replace(SETTINGS, feed_linger_seconds=30),
        )
        for _ in range(3):
            listener = Listener()
            feed.add(listener)
            await listener.until_link(Link.LIVE)
            feed.remove(listener)
        assert server.feed_count == 1
        await feed.close()

    run(scenario())


def test_a_burst_is_bounded_and_says_that_it_was(server: FakeApi) -> None:
    async def scenario() -> None:
        settings = msgspec.structs.replace(SETTINGS, feed_flush_seconds=0.5)
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=settings)
        listener = Listener()
        feed.add(listener)
        await listener.until_link(Link.LIVE)
        for _ in range(30):
            await in_thread(server.push_event)
        await listener.until(lambda: listener.events and listener.events[-1].id == 150)
        assert any(missed for _, missed in listener.deliveries)
        assert max(count for count, _ in listener.deliveries) <= settings.feed_max_events
        await feed.close()

    run(scenario())


def test_it_says_since_when_the_server_is_away_and_comes_back(server: FakeApi) -> None:
    async def scenario() -> None:
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=SETTINGS)
        listener = Listener()
        feed.add(listener)
        await listener.until_link(Link.LIVE)
        await in_thread(server.drop_feed)
        await listener.until_link(Link.LOST)
        lost = listener.views[-1]
        assert lost.lost_wall == NOON
        assert lost.state is not None  # the last known numbers stay, marked as old
        server.resume_feed()
        await listener.until_link(Link.LIVE)
        assert listener.views[-1].lost_wall is None
        # What happened in between was pushed to nobody: pages must ask.
        await listener.until(lambda: any(missed for _, missed in listener.deliveries))
        await feed.close()

    run(scenario())


def test_a_server_that_was_never_there_is_lost_not_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        feed = StateFeed(str(tmp_path / "nobody"), clock=WallClock(), settings=SETTINGS)
        listener = Listener()
        feed.add(listener)
        await listener.until_link(Link.LOST)
        assert listener.views[-1].state is None
        await feed.close()

    run(scenario())


def test_a_message_that_is_not_understood_ends_nothing(server: FakeApi) -> None:
    async def scenario() -> None:
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=SETTINGS)
        listener = Listener()
        feed.add(listener)
        await listener.until_link(Link.LIVE)
        for bad in ({"type": 3}, {"type": "event", "event": {"id": 1}}, {"type": "new kind"}):
            await in_thread(server.push_raw, bad)
        await in_thread(server.push_event)
        await listener.until(lambda: listener.events)
        assert (len(listener.events), server.feed_count) == (1, 1)
        await feed.close()

    run(scenario())


def test_a_page_that_fails_takes_no_news_from_the_others(server: FakeApi) -> None:
    class Broken(Listener):
        def on_view(self, view: FeedView) -> None:
            raise RuntimeError("broken page")

    async def scenario() -> None:
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=SETTINGS)
        good = Listener()
        feed.add(Broken())
        feed.add(good)
        await good.until_link(Link.LIVE)
        await feed.close()

    run(scenario())


def test_a_state_that_was_asked_for_never_replaces_a_pushed_one(server: FakeApi) -> None:
    async def scenario() -> None:
        feed = StateFeed(server.api_socket, clock=WallClock(), settings=SETTINGS)
        older = msgspec.convert(rich_state() | {"version": "older"}, State)
        feed.offer(older)
        assert feed.view.state == older
        listener = Listener()
        feed.add(listener)
        await listener.until_link(Link.LIVE)
        feed.offer(older)
        assert feed.view.state is not None
        assert feed.view.state.version == "0.1.0"
        await feed.close()

    run(scenario())


def test_the_api_client_turns_answers_into_types_and_errors(
    server: FakeApi, tmp_path: Path
) -> None:
    async def expect(error: type[SaccadeError], call: Coroutine[Any, Any, object]) -> SaccadeError:
        with pytest.raises(error) as raised:
            await call
        return raised.value

    async def scenario() -> None:
        api = ApiClient(server.api_socket, timeout_seconds=5, read_timeout_seconds=5)
        assert (await api.state(timeout_seconds=5)).demo
        page = await api.events(limit=5, kind="object.appeared", camera="front-door")
        older = await api.events(limit=5, before=page.next)
        assert [e.id for e in page.events + older.events] == [
            120,
            119,
            117,
            116,
            115,
            *range(114, 109, -1),
        ]
        assert '\n  "saccade": "0.1.0"' in await api.environment()
        server.refuse = problem(409, "conflict", "id 'a' is taken", "choose another")
        refused = await expect(RequestRefused, api.add_camera(NewCamera(id="a", source="b")))
        assert (refused.what, refused.fix) == ("id 'a' is taken", "choose another")
        server.events.append({"id": 121, "kind": "half", "camera": None})
        await expect(AnswerInvalid, api.events(limit=5))
        await api.close()
        nobody = ApiClient(str(tmp_path / "nobody"), timeout_seconds=5, read_timeout_seconds=5)
        await expect(ServerUnreachable, nobody.state(timeout_seconds=5))
        await nobody.close()

    run(scenario())
