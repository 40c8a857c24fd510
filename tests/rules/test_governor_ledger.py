"""The memory ledger: a reservation before each load, and nobody evicted who must not be."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.engine.ledger import Admission, Answer, Entry, Ledger, Use, reserve
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.types import HostName, ModelName

SETTINGS = GovernorSettings(ledger_margin_mb=100.0, ledger_host_margin_mb=50.0)
NOW = 10_000.0


def model(
    name: str = "new", *, mb: float = 1000.0, priority: int = 5, gpu: int | None = 0
) -> ModelLimits:
    return ModelLimits(
        name=ModelName(name),
        host=HostName("h"),
        gpu=gpu,
        priority=priority,
        memory_reservation_mb=mb,
    )


def loaded(name: str, *, mb: float, priority: int = 1, gpu: int | None = 0) -> Entry:
    return Entry(ModelName(name), HostName("h"), gpu, priority, mb, is_loaded=True)


def ledger_of(*entries: Entry) -> Ledger:
    return Ledger({e.model: e for e in entries})


def idle(seconds: float) -> Use:
    return Use(is_busy=False, used_at=NOW - seconds)


def ask(
    ledger: Ledger, wanted: ModelLimits, free_mb: float | None, **uses: Use
) -> tuple[Ledger, Admission]:
    return reserve(
        ledger,
        wanted,
        free_mb=free_mb,
        settings=SETTINGS,
        now=NOW,
        uses={ModelName(n): u for n, u in uses.items()},
    )


@pytest.mark.parametrize(
    ("free_mb", "answer"),
    [(1100.0, Answer.GRANTED), (1099.0, Answer.REFUSED), (None, Answer.GRANTED)],
)
def test_a_load_is_granted_when_its_cost_and_the_margin_fit(
    free_mb: float | None, answer: Answer
) -> None:
    after, admission = ask(Ledger(), model(), free_mb)
    assert admission.answer is answer
    assert (ModelName("new") in after.entries) == (answer is Answer.GRANTED)


def test_the_text_says_what_is_needed_and_what_there_is() -> None:
    _after, admission = ask(
        ledger_of(loaded("old", mb=300.0)), model(mb=5000.0), 2100.0, old=idle(9.0)
    )
    assert admission.text == (
        "it needs 5,000 MB and GPU 0 has 2,000 MB to give; idle models of no "
        "higher priority would give back 300 MB"
    )


def test_two_loads_at_once_do_not_get_the_same_memory() -> None:
    first, one = ask(Ledger(), model("a"), 1500.0)
    second, two = ask(first, model("b"), 1500.0)
    assert (one.answer, two.answer) == (Answer.GRANTED, Answer.REFUSED)
    warm = second.loaded(ModelName("a"), cost_mb=400.0)
    _third, three = ask(warm, model("b"), 1100.0)  # now the measure shows what `a` took
    assert three.answer is Answer.GRANTED


def test_what_was_measured_counts_instead_of_the_setting_until_the_file_is_another() -> None:
    after, _admission = ask(Ledger(), model(mb=1000.0), 9000.0)
    after = after.loaded(ModelName("new"), cost_mb=2345.0).released(ModelName("new"))
    assert after.cost_of(model(mb=1000.0)) == 2345.0
    assert after.changed(ModelName("new")).cost_of(model(mb=1000.0)) == 1000.0


def test_a_reload_in_place_counts_what_the_old_one_gives_back() -> None:
    _after, admission = ask(ledger_of(loaded("new", mb=1000.0)), model(mb=1200.0), 400.0)
    assert admission.answer is Answer.GRANTED
    _after, admission = ask(ledger_of(loaded("new", mb=1000.0)), model(mb=1400.0), 400.0)
    assert admission.answer is Answer.REFUSED


def test_a_dead_host_gives_back_what_it_held_and_what_it_was_promised() -> None:
    after, _admission = ask(Ledger(), model(), 2000.0)
    assert after.promised_mb(0) == 1000.0
    assert after.host_died(HostName("other")).promised_mb(0) == 1000.0
    assert after.host_died(HostName("h")).entries == {}
    assert after.loaded(ModelName("stranger"), cost_mb=1.0) == after


@pytest.mark.parametrize(("entries", "uses", "evict"), [
    # the lowest priority first, though it was used last
    ([loaded("low", mb=1000, priority=1), loaded("mid", mb=1000, priority=2)],
     {"low": idle(1), "mid": idle(900)}, ("low",)),
    # of one priority the one that is idle longest
    ([loaded("a", mb=1000), loaded("b", mb=1000)], {"a": idle(10), "b": idle(20)}, ("b",)),
    # as many as needed, and no more
    ([loaded("a", mb=500), loaded("b", mb=500), loaded("c", mb=500)],
     {"a": idle(30), "b": idle(20), "c": idle(10)}, ("a", "b")),
    # one that comes later and is enough alone spares the ones before it
    ([loaded("a", mb=100), loaded("b", mb=1000, priority=2)], {"a": idle(30), "b": idle(20)},
     ("b",)),
    # the same priority only after five idle minutes
    ([loaded("a", mb=1000, priority=5)], {"a": idle(300)}, ("a",)),
    ([loaded("a", mb=1000, priority=5)], {"a": idle(299)}, None),
    # never: higher, busy, unknown use, elsewhere, not enough
    ([loaded("a", mb=1000, priority=6)], {"a": idle(9999)}, None),
    ([loaded("a", mb=1000)], {"a": Use(is_busy=True, used_at=0.0)}, None),
    ([loaded("a", mb=1000)], {}, None),
    ([loaded("a", mb=1000, gpu=1)], {"a": idle(9999)}, None),
    ([loaded("a", mb=1000, gpu=None)], {"a": idle(9999)}, None),
    ([loaded("a", mb=999)], {"a": idle(9999)}, None),
])  # fmt: skip
def test_who_is_evicted(
    entries: list[Entry], uses: dict[str, Use], evict: tuple[str, ...] | None
) -> None:
    before = ledger_of(*entries)
    after, admission = ask(before, model(), 100.0, **uses)
    assert after == before  # nothing is promised before it is free
    assert admission.answer is (Answer.REFUSED if evict is None else Answer.EVICT)
    assert admission.evict == (evict or ())


def test_a_model_that_is_still_loading_is_not_evicted() -> None:
    first, _admission = ask(Ledger(), model("slow", priority=0), 1100.0)
    _after, admission = ask(first, model(priority=9), 1100.0, slow=idle(9999))
    assert admission.answer is Answer.REFUSED


def test_a_cpu_model_asks_the_machine_and_not_the_gpu() -> None:
    gpu = ledger_of(Entry(ModelName("g"), HostName("h"), 0, 1, 99_999.0))
    _after, admission = ask(gpu, model(gpu=None), 1050.0)
    assert admission.answer is Answer.GRANTED
    assert "the machine" in admission.text


OTHERS = st.lists(
    st.tuples(
        st.integers(0, 6).map(lambda n: n * 100.0),
        st.integers(3, 6),
        st.booleans(),
        st.sampled_from([0.0, 299.0, 300.0, 900.0]),
        st.booleans(),
    ),
    max_size=6,
)


@given(OTHERS, st.integers(0, 15).map(lambda n: n * 100.0), st.integers(0, 12).map(float))
def test_an_answer_is_right_by_trying_every_set_of_victims(
    others: list[tuple[float, int, bool, float, bool]], need_mb: float, free: float
) -> None:
    entries = [
        Entry(ModelName(f"m{n}"), HostName("h"), 0, priority, mb, is_loaded=is_loaded)
        for n, (mb, priority, _busy, _idle, is_loaded) in enumerate(others)
    ]
    uses = {
        f"m{n}": Use(busy, NOW - idle_s)
        for n, (_mb, _priority, busy, idle_s, _loaded) in enumerate(others)
    }
    free_mb = free * 100.0
    ledger = ledger_of(*entries)
    after, admission = ask(ledger, model(mb=need_mb), free_mb, **uses)
    room_mb = free_mb - 100.0 - sum(e.cost_mb for e in entries if not e.is_loaded)
    allowed = [
        e
        for e in entries
        if e.is_loaded
        and not uses[e.model].is_busy
        and (e.priority < 5 or (e.priority == 5 and NOW - uses[e.model].used_at >= 300.0))
    ]
    enough = [
        set(some)
        for size in range(len(allowed) + 1)
        for some in combinations([e.model for e in allowed], size)
        if room_mb + sum(ledger.entries[m].cost_mb for m in some) >= need_mb
    ]
    chosen = set(admission.evict)
    if need_mb <= room_mb:
        assert admission.answer is Answer.GRANTED
        assert after.promised_mb(0) == ledger.promised_mb(0) + need_mb
    elif not enough:
        assert admission.answer is Answer.REFUSED
    else:
        assert admission.answer is Answer.EVICT
        assert chosen in enough
        assert not any(some < chosen for some in enough)  # nobody is evicted for nothing
        assert len(admission.evict) == len(chosen)
