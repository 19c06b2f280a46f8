"""The claim hands out what the executable model says: same jobs, same agents, same order.

The facts are the test's own: they are written into Postgres as rows, and told to the model as a snapshot.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_core.domain import costs, rule, scheduling
from platform_core.domain.ids import SYSTEM_TENANT, AgentId, JobId, TenantId
from platform_core.domain.plans import PLANS, weight
from platform_core.domain.scheduling import Decision, Profile, QueuedJob, Requirement, Snapshot
from platform_server.store import claims
from platform_server.store.connection import Conn
from world import a_lane, rolled_back

NOW = datetime(2026, 1, 24, 12, tzinfo=UTC)
PATIENCE = timedelta(seconds=30)
PRIORITIES = {1000: "critical", 750: "high", 500: "normal", 250: "low"}
NAMES = ["bandit", "nuclei", "trivy"]
REGIONS = ["eu-west-1", "us-east-1"]
# Around what the rule looks at: the region's patience, a point of age, and the cap at 50 minutes.
AGES = [0.0, 0.0, 5.9, 6.0, 29.9, 30.0, 30.1, 600.0, 2994.0, 2999.9, 3000.0, 3000.1, 3006.0, 90_000.0]


@dataclass
class Tenant:
    id: TenantId
    plan: str
    suspended: bool
    turn: float
    contending: bool
    mean: float | None
    held: Counter[int] = field(default_factory=Counter)

    @property
    def weight(self) -> int:
        return weight(PLANS[self.plan])


@dataclass
class Agent:
    id: AgentId
    admin_state: str
    online: bool
    deleted: bool
    slots: int
    profile: int
    held: int = 0

    @property
    def may_be_given(self) -> bool:
        return self.admin_state == "enabled" and not self.deleted


@dataclass
class Facts:
    """All that the test knows. Profiles and requirements are numbered as Postgres numbered them."""

    draw: Random
    tenants: list[Tenant]
    agents: list[Agent]
    profiles: Mapping[int, Profile]
    requirements: Mapping[int, Requirement]
    virtual_times: dict[int, float]
    fleet_mean: float
    queued: dict[JobId, QueuedJob] = field(default_factory=dict)
    ended: list[tuple[Tenant, int, costs.Ended]] = field(default_factory=list)
    now: datetime = NOW

    def offers(self, count: int) -> list[claims.Offer]:
        draw = self.draw
        return [
            claims.Offer(agent.id, agent.profile, draw.randint(1, 4), float(draw.randint(0, 3)))
            for agent in draw.choices(self.agents, k=count)
        ]

    def decide(self, offers: Sequence[claims.Offer]) -> Decision:
        """What the model says; what ended is folded in first."""
        for tenant, g, attempt in self.ended:
            self._correct(tenant, g, attempt)
        self.ended.clear()
        return rule.hand_out(self._snapshot(offers))

    def _correct(self, tenant: Tenant, g: int, attempt: costs.Ended) -> None:
        tenant.turn = costs.corrected(
            tenant.turn,
            attempt,
            weight=tenant.weight,
            fleet_mean=self.fleet_mean,
            virtual_time=self.virtual_times.get(g, 0.0),
        )
        if (held := attempt.held_seconds) is not None:
            tenant.mean = costs.smoothed(tenant.mean, latest=held, weight=costs.TENANT_SMOOTHING)
            self.fleet_mean = costs.smoothed(self.fleet_mean, latest=held, weight=costs.FLEET_SMOOTHING)

    def _snapshot(self, offers: Sequence[claims.Offer]) -> Snapshot:
        agents = {agent.id: agent for agent in self.agents if agent.may_be_given}
        offering = {offer.agent for offer in offers}
        slots: Counter[int] = Counter()
        for agent in agents.values():
            if agent.online or agent.id in offering:
                slots[agent.profile] += agent.slots
        return Snapshot(
            now=self.now.timestamp(),
            patience=PATIENCE.total_seconds(),
            profiles=self.profiles,
            requirements=self.requirements,
            slots=slots,
            virtual_times=self.virtual_times,
            tenants={
                t.id: scheduling.Tenant(
                    weight=t.weight,
                    running=t.held.total(),
                    running_on=t.held,
                    turn=t.turn,
                    contending=t.contending,
                    cost=costs.cost_of(t.mean or self.fleet_mean, fleet_mean=self.fleet_mean),
                )
                for t in self.tenants
                if not t.suspended
            },
            queued=list(self.queued.values()),
            offers=[
                scheduling.Offer(
                    o.agent, o.profile, agents[o.agent].held, agents[o.agent].slots, o.max_jobs, o.waiting_since
                )
                for o in offers
                if o.agent in agents
            ],
        )

    def note(self, decision: Decision) -> None:
        """Carry over what the model decided; a suspended tenant cannot be served, so it does not contend."""
        agents = {agent.id: agent for agent in self.agents}
        tenants = {tenant.id: tenant for tenant in self.tenants}
        for h in decision.handed_out:
            del self.queued[h.job]
            agents[h.agent].held += 1
            tenants[h.tenant].held[h.profile] += 1
        for tenant in self.tenants:
            tenant.turn = decision.turns.get(tenant.id, tenant.turn)
            tenant.contending = tenant.id in decision.contending
        self.virtual_times |= decision.virtual_times


async def invent(conn: Conn, draw: Random, *, tenants: int, agents: int) -> Facts:
    """A platform at some moment, the same in Postgres and in the facts."""
    profiles = {await claims.intern_profile(conn, p): p for p in (a_profile(draw) for _ in range(4))}
    virtual_times = {g: draw.choice([0.0, 3.0, 40.0]) for g in profiles}
    await conn.executemany("INSERT INTO profile_turns VALUES ($1, $2)", list(virtual_times.items()))
    facts = Facts(
        draw,
        [a_tenant(draw, n) for n in range(tenants)],
        [an_agent(draw, n, list(profiles)) for n in range(agents)],
        profiles,
        {},
        virtual_times,
        fleet_mean=draw.choice([0.5, 60.0, 300.0]),
    )
    await conn.execute("UPDATE fleet SET mean_seconds = $1", facts.fleet_mean)
    await write_tenants(conn, facts.tenants)
    await write_agents(conn, facts.agents)
    await hold_some(conn, facts)
    return facts


def a_profile(draw: Random) -> Profile:
    return Profile(frozenset(draw.sample(NAMES, 2)), frozenset(draw.sample(NAMES, 2)), draw.choice(REGIONS))


def a_tenant(draw: Random, n: int) -> Tenant:
    turn, contending = draw.choice([0.0, 2.25, 7.0, 90.5]), draw.random() < 0.5
    mean = draw.choice([None, 0.05, 30.0, 1200.0])
    return Tenant(TenantId(uuid(draw, n)), draw.choice([*PLANS]), draw.random() < 0.1, turn, contending, mean)


def an_agent(draw: Random, n: int, profiles: Sequence[int]) -> Agent:
    state = draw.choice(["enabled", "enabled", "enabled", "draining", "disabled"])
    return Agent(
        AgentId(uuid(draw, n)),
        state,
        draw.random() < 0.7,
        draw.random() < 0.1,
        draw.randint(1, 6),
        draw.choice(profiles),
    )


def uuid(draw: Random, n: int) -> UUID:
    return UUID(int=draw.getrandbits(120) << 8 | n)


async def write_tenants(conn: Conn, tenants: Sequence[Tenant]) -> None:
    await conn.executemany(
        "INSERT INTO tenants (id, name, plan, status) VALUES ($1, 'acme', $2, $3)",
        [(t.id, t.plan, "suspended" if t.suspended else "active") for t in tenants],
    )
    await conn.executemany(
        "INSERT INTO tenant_turns (tenant_id, turn, contending, mean_seconds) VALUES ($1, $2, $3, $4)",
        [(t.id, t.turn, t.contending, t.mean) for t in tenants],
    )


async def write_agents(conn: Conn, agents: Sequence[Agent]) -> None:
    await conn.executemany(
        "INSERT INTO agents (id, tenant_id, name, admin_state, max_concurrent, is_platform_agent, deleted_at)"
        " VALUES ($1, $2, $3, $4, $5, true, CASE WHEN $6 THEN clock_timestamp() END)",
        [(a.id, SYSTEM_TENANT, str(a.id), a.admin_state, a.slots, a.deleted) for a in agents],
    )
    await conn.executemany(
        "INSERT INTO agent_presence (agent_id, online, profile_id) VALUES ($1, $2, $3)",
        [(a.id, a.online, a.profile) for a in agents],
    )


async def hold_some(conn: Conn, facts: Facts) -> None:
    """Held jobs, some beyond a plan that was lowered; a cancelled one takes a slot of its agent, none of its tenant."""
    draw, rows = facts.draw, []
    for agent in facts.agents:
        agent.held = draw.randint(0, agent.slots)
        for n in range(agent.held):
            tenant, status = draw.choice(facts.tenants), draw.choice(["assigned", "running", "cancelled"])
            if status != "cancelled":
                tenant.held[agent.profile] += 1
            rows.append((uuid(draw, n), tenant.id, status, agent.id, agent.profile))
    await conn.executemany(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, platform_agent_id, profile_id,"
        " slot_held, assigned_at, attempt, auth_token_hash, auth_token_expires_at, completed_at)"
        " VALUES ($1, $2, 'collect', 'low', $3, '{}', $4, $5, true, now(), 1, '', now(),"
        " CASE $3 WHEN 'cancelled' THEN now() END)",
        rows,
    )


async def submit(conn: Conn, facts: Facts, *, count: int) -> None:
    """New jobs that have waited for so long."""
    draw = facts.draw
    wanted = [
        (
            draw.choice(facts.tenants).id,
            Requirement(
                frozenset(draw.sample(NAMES, draw.randint(0, 1))),
                draw.choice([None, *NAMES]),
                draw.choice([None, *REGIONS]),
            ),
            draw.choice([*PRIORITIES]),
        )
        for _ in range(count)
    ]
    ages = [timedelta(seconds=draw.choice(AGES)) for _ in range(count)]
    lanes = {lane: await a_lane(conn, *lane) for lane in dict.fromkeys(wanted)}
    places = [lanes[lane] for lane in wanted]
    rows = await conn.fetch("SELECT id, requirement_id FROM lanes WHERE id = ANY ($1)", places)
    numbers: dict[int, int] = {row["id"]: row["requirement_id"] for row in rows}
    facts.requirements = {**facts.requirements, **{numbers[p]: w[1] for p, w in zip(places, wanted, strict=True)}}
    waiting = []
    for n, ((tenant, requirement, base), age, lane) in enumerate(zip(wanted, ages, places, strict=True)):
        queued_at, job = facts.now - age, JobId(uuid(draw, n))
        facts.queued[job] = QueuedJob(job, tenant, base, queued_at.timestamp(), numbers[lane])
        kind = "collect" if requirement.tool is None else "scan"
        waiting.append((job, tenant, kind, PRIORITIES[base], requirement.tool, lane, queued_at, draw.randint(0, 3)))
    await conn.executemany(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, tool, lane_id, queued_at, attempt)"
        " VALUES ($1, $2, $3, $4, 'queued', '{}', $5, $6, $7, $8)",
        waiting,
    )
    await conn.executemany(
        "INSERT INTO lane_wakes (lane_id, queued_at) VALUES ($1, $2)", [(w[5], w[6]) for w in waiting]
    )


async def end_some(conn: Conn, facts: Facts, *, count: int) -> None:
    """Attempts that ended since the last claim, some of them refunded."""
    draw = facts.draw
    for _ in range(count):
        tenant, g = draw.choice(facts.tenants), draw.choice([*facts.profiles])
        attempt = costs.Ended(draw.choice([0.01, 1.0, 40.0]), draw.choice([None, 0.0, 12.0, 7800.0]))
        facts.ended.append((tenant, g, attempt))
        await conn.execute(
            "INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds) VALUES ($1, $2, $3, $4)",
            tenant.id, g, attempt.charged, attempt.held_seconds,
        )  # fmt: skip


async def stored(conn: Conn) -> tuple[dict[TenantId, tuple[float, bool, float | None]], dict[int, float], float]:
    turns = await conn.fetch("SELECT tenant_id, turn, contending, mean_seconds FROM tenant_turns")
    virtual_times = await conn.fetch("SELECT profile_id, v FROM profile_turns")
    fleet_mean = await conn.fetchval("SELECT mean_seconds FROM fleet")
    return (
        {row["tenant_id"]: (row["turn"], row["contending"], row["mean_seconds"]) for row in turns},
        {row["profile_id"]: row["v"] for row in virtual_times},
        fleet_mean,
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    tenants=st.integers(1, 6),
    agents=st.integers(1, 5),
    jobs=st.integers(0, 30),
    offers=st.integers(1, 8),
    ended=st.integers(0, 3),
    claims_in_a_row=st.integers(1, 3),
)
async def test_the_claim_hands_out_the_models_jobs_to_the_models_agents_in_the_models_order(
    conn: Conn, seed: int, tenants: int, agents: int, jobs: int, offers: int, ended: int, claims_in_a_row: int
) -> None:
    async with rolled_back(conn):
        facts = await invent(conn, Random(seed), tenants=tenants, agents=agents)
        for _ in range(claims_in_a_row):
            await submit(conn, facts, count=jobs)
            await end_some(conn, facts, count=ended)
            polls = facts.offers(offers)
            slots = await claims.slots(conn)
            claimed = await claims.claim_at(
                conn, polls, slots=slots, token_hash=lambda *_: "", patience=PATIENCE, now=facts.now
            )
            decision = facts.decide(polls)
            assert [(h.job, h.agent) for h in claimed.handed_out] == [(h.job, h.agent) for h in decision.handed_out]
            facts.note(decision)
            assert claimed.left_waiting == bool(facts.queued)
            turns, virtual_times, fleet_mean = await stored(conn)
            assert turns == {t.id: (t.turn, t.contending, t.mean) for t in facts.tenants}
            assert (virtual_times, fleet_mean) == (facts.virtual_times, facts.fleet_mean)
            facts.now += timedelta(seconds=20)
