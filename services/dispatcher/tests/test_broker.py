"""The broker alone: who is woken, who looks, and that no wake-up and no claimed job is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from dispatching import SOON

from dispatcher.broker import Broker, end_of_poll
from dispatcher.idle import Poll
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Profile, Requirement
from platform_server.kit.clock import new_id, now
from platform_server.kit.loops import Loop, running
from platform_server.store.claims import Claimed, HandedOut, Offer
from world import eventually

NUCLEI = Requirement(frozenset(), "nuclei", None)
IN_EU = Requirement(frozenset(), "nuclei", "eu")
SEMGREP = Requirement(frozenset(), "semgrep", None)

PROFILES = {
    1: Profile(frozenset(), frozenset({"nuclei"}), "us"),
    2: Profile(frozenset(), frozenset({"nuclei"}), "eu"),
    3: Profile(frozenset(), frozenset({"nuclei", "semgrep"}), "us"),
    4: Profile(frozenset(), frozenset({"nuclei", "semgrep"}), "eu"),
}


class Desk:
    """A claim function: hands ``waiting`` jobs to the offers in their order, when it is let go on."""

    def __init__(self) -> None:
        self.waiting = 0
        self.full: set[AgentId] = set()
        self.looked: list[list[AgentId]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.put_back: list[HandedOut] = []
        self.broker = Broker(self.claim, self.put_back.extend)

    async def claim(self, offers: Sequence[Offer]) -> Claimed:
        self.looked.append([offer.agent for offer in offers])
        await self.open.wait()
        able = [offer for offer in offers if offer.agent not in self.full]
        given = [_job(offer.agent) for offer in able for _ in range(offer.max_jobs)][: self.waiting]
        self.waiting -= len(given)
        return Claimed(given, left_waiting=self.waiting > 0, unable={o.agent for o in offers} & self.full)

    async def hold(self, number: int = 1, **facts: float) -> tuple[Poll, "asyncio.Task[Sequence[HandedOut]]"]:
        """A poll that has looked, found nothing and is held."""
        poll, waiting = self.come(number, **facts)

        async def looked() -> bool:
            return not poll.looking

        await eventually(looked)
        return poll, waiting

    def come(
        self, number: int = 1, *, since: float = 0.0, seconds: float = 60, max_jobs: float = 1
    ) -> tuple[Poll, "asyncio.Task[Sequence[HandedOut]]"]:
        poll = Poll(AgentId(new_id()), number, PROFILES[number], int(max_jobs), since)
        return poll, asyncio.create_task(self.broker.wait(poll, seconds=seconds))

    async def looks(self, times: int) -> None:
        """Waits until so many claims have begun."""

        async def begun() -> bool:
            return len(self.looked) >= times

        await eventually(begun)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with at_work(Desk()) as desk:
        yield desk


@asynccontextmanager
async def at_work(desk: Desk) -> AsyncIterator[Desk]:
    loop = Loop("claims", desk.broker.step, timedelta(hours=1), wake=desk.broker.work)
    async with running([loop]):
        yield desk


@pytest.mark.parametrize(
    ("held", "requirement", "woken"),
    [
        ([(1, 5.0), (1, 3.0), (1, 4.0)], NUCLEI, 1),
        ([(3, 1.0), (1, 2.0)], NUCLEI, 1),
        ([(1, 1.0), (4, 2.0)], IN_EU, 1),
        ([(4, 1.0), (2, 2.0)], IN_EU, 1),
        ([(1, 1.0), (3, 2.0)], IN_EU, 0),
        ([(1, 1.0), (3, 2.0)], SEMGREP, 1),
        ([(1, 1.0), (2, 2.0)], SEMGREP, None),
    ],
    ids=[
        "the longest wait",
        "the least capable",
        "its own region's, capable as it is",
        "the least capable of its region",
        "the least capable elsewhere",
        "one that can run it",
        "nobody fits",
    ],
)
async def test_one_job_wakes_one_fitting_poll(
    held: list[tuple[int, float]], requirement: Requirement, woken: int | None
) -> None:
    desk = Desk()
    polls = [desk.come(number, since=since)[0] for number, since in held]
    await asyncio.sleep(0)
    assert await desk.broker.step() == len(held)
    desk.broker.job_queued(requirement)
    assert await desk.broker.step() == (0 if woken is None else 1)
    assert desk.looked[1:] == ([] if woken is None else [[polls[woken].agent]])
    desk.broker.drain()


async def test_a_wake_up_during_a_claim_waits_for_its_end_and_goes_to_who_still_waits(desk: Desk) -> None:
    best, given = await desk.hold(1, since=1.0)
    other, also_given = await desk.hold(3, since=2.0)
    desk.waiting = 1
    desk.open.clear()
    desk.broker.job_queued(NUCLEI)
    await desk.looks(3)
    desk.broker.job_queued(NUCLEI)
    desk.open.set()
    async with asyncio.timeout(SOON):
        assert [job.agent for job in await given] == [best.agent]
        await desk.looks(4)
    assert desk.looked[2:] == [[best.agent], [other.agent]]
    assert not also_given.done()
    desk.broker.drain()


async def test_a_wake_up_during_a_claim_comes_to_the_poll_that_claim_left_empty_handed(desk: Desk) -> None:
    desk.open.clear()
    poll, given = desk.come()
    await desk.looks(1)
    desk.broker.job_queued(NUCLEI)
    desk.open.set()
    await desk.looks(2)
    assert desk.looked[1] == [poll.agent]
    desk.broker.drain()
    assert await given == ()


async def test_a_wake_up_that_found_its_polls_slots_full_is_passed_on(desk: Desk) -> None:
    full, _ = await desk.hold(1, since=1.0)
    free, given = await desk.hold(3, since=2.0)
    desk.full.add(full.agent)
    desk.waiting = 1
    desk.broker.job_queued(NUCLEI)
    async with asyncio.timeout(SOON):
        assert [job.agent for job in await given] == [free.agent]
    desk.broker.drain()


async def test_who_could_take_nothing_is_not_woken_again_before_the_next_sweep(desk: Desk) -> None:
    full, given = await desk.hold(1)
    desk.full.add(full.agent)
    desk.waiting = 1
    desk.broker.job_queued(NUCLEI)
    await desk.looks(2)
    assert list(desk.broker.waiting) == []
    desk.broker.job_queued(NUCLEI)
    other, _ = desk.come(2, max_jobs=0)
    await desk.looks(3)
    assert desk.looked[2] == [other.agent]
    desk.full.clear()
    desk.broker.look_again()
    async with asyncio.timeout(SOON):
        assert len(await given) == 1
    desk.broker.drain()


async def test_a_job_that_ends_lets_one_poll_of_each_profile_look_if_others_were_left_waiting(desk: Desk) -> None:
    polls = [(await desk.hold(number, since=since, max_jobs=0))[0] for number, since in ((1, 1.0), (1, 2.0), (2, 3.0))]
    desk.looked.clear()
    desk.broker.slots_freed()
    desk.waiting = 1
    late, _ = await desk.hold(3, since=4.0, max_jobs=0)
    assert desk.looked == [[late.agent]]
    desk.broker.slots_freed()
    await desk.looks(2)
    assert desk.looked[1] == [polls[0].agent, polls[2].agent, late.agent]
    desk.broker.drain()


async def test_a_poll_does_not_look_where_another_of_its_profile_waits_for_want_of_jobs(desk: Desk) -> None:
    await desk.hold(1, since=1.0)
    desk.looked.clear()
    newcomer, given = await desk.hold(1, since=0.5)
    assert desk.looked == [], "what there was for it the other would have"
    desk.waiting = 1
    desk.broker.job_queued(NUCLEI)
    async with asyncio.timeout(SOON):
        assert [job.agent for job in await given] == [newcomer.agent], "it is woken like any other"
    desk.broker.drain()


async def test_a_poll_that_will_not_wait_looks_whoever_else_waits(desk: Desk) -> None:
    await desk.hold(1)
    desk.waiting = 1
    _, given = desk.come(1, seconds=0)
    async with asyncio.timeout(SOON):
        assert len(await given) == 1
    desk.broker.drain()


async def test_where_one_was_served_and_jobs_are_left_two_more_look(desk: Desk) -> None:
    waits = [(await desk.hold())[1] for _ in range(40)]
    desk.looked.clear()
    desk.waiting = 40
    desk.broker.look_again()
    async with asyncio.timeout(SOON):
        assert sum(len(jobs) for jobs in await asyncio.gather(*waits)) == 40
    assert [len(batch) for batch in desk.looked] == [1, 2, 4, 8, 16, 9]


async def test_polls_that_come_while_a_claim_is_in_flight_share_the_next(desk: Desk) -> None:
    desk.open.clear()
    desk.come()
    await desk.looks(1)
    later = [desk.come()[0].agent for _ in range(10)]
    desk.open.set()
    await desk.looks(2)
    assert desk.looked[1] == later
    desk.broker.drain()


@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_poll_looks_before_its_time_is_up_however_short_it_is(desk: Desk, waiting: int) -> None:
    desk.open.clear()
    desk.come()
    await desk.looks(1)
    desk.waiting = 1 + waiting
    short, given = desk.come(seconds=0)
    asyncio.get_running_loop().call_later(0.05, desk.open.set)
    async with asyncio.timeout(SOON):
        assert len(await given) == waiting
    assert short.agent in desk.looked[1]
    desk.broker.drain()


async def test_what_was_claimed_for_a_poll_that_has_gone_is_put_back(desk: Desk) -> None:
    desk.waiting = 1
    desk.open.clear()
    gone, given = desk.come()
    await desk.looks(1)
    given.cancel()
    await asyncio.wait([given])
    desk.open.set()
    await _put_back(desk, gone)


async def test_what_was_delivered_to_a_caller_that_was_cancelled_meanwhile_is_put_back() -> None:
    desk = Desk()
    desk.waiting = 1
    gone, given = desk.come()
    await asyncio.sleep(0)
    await desk.broker.step()
    assert gone.answer.done()
    given.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given
    await _put_back(desk, gone)


async def test_a_claim_that_fails_hands_out_nothing_and_the_broker_goes_on() -> None:
    class Failing(Desk):
        async def claim(self, offers: Sequence[Offer]) -> Claimed:
            if not self.looked:
                self.looked.append([])
                raise ConnectionError("Postgres is away")
            return await super().claim(offers)

    async with at_work(Failing()) as desk:
        _, given = await desk.hold()
        desk.waiting = 1
        desk.broker.look_again()
        async with asyncio.timeout(SOON):
            assert len(await given) == 1


async def test_a_drain_answers_every_held_poll_and_a_claim_in_flight_still_delivers(desk: Desk) -> None:
    held = [(await desk.hold(2))[1] for _ in range(3)]
    desk.waiting = 1
    desk.open.clear()
    _, claiming = desk.come()
    before = len(desk.looked)
    await desk.looks(before + 1)
    due = desk.come()[1]
    await asyncio.sleep(0)
    desk.broker.drain()
    async with asyncio.timeout(SOON):
        assert await asyncio.gather(*held, due) == [(), (), (), ()]
        assert not claiming.done()
        desk.open.set()
        assert len(await claiming) == 1
        assert await desk.broker.wait(desk.come()[0], seconds=60) == ()


async def test_a_drain_answers_a_claim_in_flight_that_brings_nothing(desk: Desk) -> None:
    desk.open.clear()
    _, claiming = desk.come()
    await desk.looks(1)
    desk.broker.drain()
    desk.open.set()
    async with asyncio.timeout(SOON):
        assert await claiming == ()


async def test_two_polls_of_an_agent_share_what_was_handed_to_it(desk: Desk) -> None:
    desk.waiting = 5
    desk.open.clear()
    blocker, _ = desk.come(2)
    await desk.looks(1)
    one, first = desk.come(max_jobs=2)
    other = Poll(one.agent, 1, PROFILES[1], 3, 0.0)
    second = asyncio.create_task(desk.broker.wait(other, seconds=60))
    await asyncio.sleep(0)
    desk.waiting = 6
    desk.open.set()
    async with asyncio.timeout(SOON):
        jobs = [*await first, *await second]
    assert len({job.job for job in jobs}) == 5
    assert (len(first.result()), len(second.result())) == (2, 3)
    assert blocker.agent not in {job.agent for job in jobs}


async def test_polls_that_ended_take_no_room(desk: Desk) -> None:
    """Timed out polls are dropped as others come, though nobody was ever woken."""
    for n in range(50):
        _, given = await desk.hold(since=float(n), seconds=60)
        desk.broker.end_polls_of(next(iter(desk.broker.held)).agent)
        assert await given == ()
    await desk.hold(since=100.0)
    assert sum(len(waits) for waits in desk.broker._idle._waits.values()) == 1
    desk.broker.drain()


def test_polls_that_are_held_end_together_ten_times_a_second_and_never_early() -> None:
    ends = {end_of_poll(7.0 + n / 1000, 60) for n in range(1, 1001)}
    assert len(ends) == 10
    assert all(0 <= end_of_poll(now, 60) - (now + 60) <= 0.1 for now in (7.0, 7.01, 7.123, 7.0999))


def test_a_short_poll_ends_when_it_says() -> None:
    assert end_of_poll(7.01, 0) == 7.01
    assert end_of_poll(7.01, 0.5) == 7.51


async def _put_back(desk: Desk, poll: Poll) -> None:
    async def done() -> bool:
        return [job.agent for job in desk.put_back] == [poll.agent]

    await eventually(done)
    assert list(desk.broker.held) == []


def _job(agent: AgentId) -> HandedOut:
    return HandedOut(
        JobId(new_id()), TenantId(UUID(int=2)), agent, 1, "scan", b"{}", 60, None, assigned_at=now(), waited=timedelta()
    )
