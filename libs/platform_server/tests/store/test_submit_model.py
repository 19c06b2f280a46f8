"""A batch of submissions is answered, and stored, as a loop over its jobs would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_core.domain.errors import QueueFull, TenantUnknown
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import Priority
from platform_core.domain.plans import PLANS
from platform_core.domain.priority import base_priority, queue_priority
from platform_core.domain.scheduling import Requirement
from platform_server.kit.clock import new_id
from platform_server.store import submissions, tenants
from platform_server.store.connection import Conn
from platform_server.store.submissions import Accepted, NewJob
from world import new_job, rolled_back

# Seconds in the queue, around those at which a lower priority catches up with a higher one: 1500 and 3000.
AGES = [1.0, 1490.0, 1510.0, 2990.0, 3010.0, 90_000.0]
REQUIREMENTS = [
    Requirement(frozenset(), "nuclei", None),
    Requirement(frozenset({"nuclei"}), "nuclei", None),
    Requirement(frozenset({"nmap", "nuclei"}), "nuclei", "eu-west-1"),
]


@dataclass
class Queue:
    """A tenant's, as the test knows it: what waits, and for how long."""

    limit: int
    waiting: list[tuple[Priority, timedelta]]

    def take(self, job: NewJob) -> int | tuple[int, int]:
        """The job's place; or the limit and the size."""
        if len(self.waiting) >= self.limit:
            return self.limit, len(self.waiting)
        base = base_priority(job.priority)
        before = sum(queue_priority(priority, waited=waited) >= base for priority, waited in self.waiting)
        self.waiting.append((job.priority, timedelta()))
        return before + 1


def told(answer: Accepted | Exception) -> int | tuple[int, int] | None:
    match answer:
        case Accepted():
            return answer.position
        case QueueFull():
            return answer.limit, answer.size
        case TenantUnknown():
            return None
    raise answer


async def a_queue(conn: Conn, draw: Random) -> tuple[TenantId, Queue]:
    """Of a tenant whose plan may have been lowered while its jobs wait."""
    tenant, plan = TenantId(new_id()), draw.choice([*PLANS])
    await tenants.put(conn, tenant, name="acme", plan=plan, status="active")
    limit: int = await conn.fetchval("SELECT max_queue_size FROM plans WHERE name = $1", plan)
    waiting = [(draw.choice([*Priority]), timedelta(seconds=draw.choice(AGES))) for _ in range(draw.randint(0, 8))]
    await queue(conn, tenant, waiting)
    return tenant, Queue(limit, waiting)


async def queue(conn: Conn, tenant: TenantId, waiting: Sequence[tuple[Priority, timedelta]]) -> None:
    await conn.executemany(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, queued_at)"
        " VALUES ($1, $2, 'collect', $3, 'queued', '{}', clock_timestamp() - $4::interval)",
        [(new_id(), tenant, priority, waited) for priority, waited in waiting],
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), count=st.integers(1, 4), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=3))
async def test_a_batch_is_answered_as_its_jobs_would_be_one_by_one(
    conn: Conn, seed: int, count: int, sizes: list[int]
) -> None:
    draw = Random(seed)
    async with rolled_back(conn):
        await conn.executemany(
            "UPDATE plans SET max_queue_size = $2 WHERE name = $1", [(plan, draw.randint(1, 12)) for plan in PLANS]
        )
        queues = dict([await a_queue(conn, draw) for _ in range(count)])
        callers = [*queues, TenantId(new_id())]
        queued: dict[JobId, NewJob] = {}
        for size in sizes:
            asked = [
                new_job(draw.choice(callers), priority=draw.choice([*Priority]), requirement=draw.choice(REQUIREMENTS))
                for _ in range(size)
            ]
            answers = await submissions.submit(conn, asked)
            expected = [queues[job.tenant].take(job) if job.tenant in queues else None for job in asked]
            assert [told(answer) for answer in answers] == expected
            accepted = [answer for answer in answers if isinstance(answer, Accepted)]
            assert all(one.queued_at < later.queued_at for one, later in pairwise(accepted))
            queued |= {job.id: job for job, answer in zip(asked, answers, strict=True) if isinstance(answer, Accepted)}
        await assert_stored(conn, queued)


async def assert_stored(conn: Conn, queued: Mapping[JobId, NewJob]) -> None:
    """The jobs that were queued, each in its lane, every lane with its wake-up; no lane of a refused one."""
    rows = await conn.fetch(
        "SELECT commands.id, lanes.tenant_id, lanes.base,"
        " requirements.capabilities, requirements.tool, requirements.preferred_region"
        " FROM commands JOIN lanes ON lanes.id = lane_id JOIN requirements ON requirements.id = requirement_id"
    )
    stored = {
        row["id"]: (
            row["tenant_id"],
            Requirement(frozenset(row["capabilities"]), row["tool"] or None, row["preferred_region"] or None),
            row["base"],
        )
        for row in rows
    }
    lanes = {id: (job.tenant, job.requirement, base_priority(job.priority)) for id, job in queued.items()}
    assert stored == lanes
    assert await conn.fetchval("SELECT count(*) FROM lanes") == len(set(lanes.values()))
    heads = await conn.fetch("SELECT lane_id, min(queued_at) FROM commands WHERE lane_id > 0 GROUP BY lane_id")
    woken = await conn.fetch("SELECT lane_id, min(queued_at) FROM lane_wakes GROUP BY lane_id")
    assert dict(map(tuple, woken)) == dict(map(tuple, heads))
