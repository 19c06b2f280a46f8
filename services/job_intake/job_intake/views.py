"""Jobs as the wire shows them."""

import msgspec

from platform_core.domain.jobs import HELD, JobStatus
from platform_core.domain.priority import base_priority
from platform_core.wire import jobs as wire
from platform_server.store import jobs as store
from platform_server.store.submissions import Accepted, NewJob


def job(found: store.Job, *, position: int | None = None) -> wire.Job:
    return wire.Job(
        id=found.id,
        tenant_id=found.tenant,
        type=found.type,
        priority=found.priority,
        status=found.status,
        payload=msgspec.Raw(found.payload.encode()),
        capabilities=found.capabilities,
        preferred_region=found.preferred_region,
        timeout=found.timeout_seconds,
        progress=found.progress,
        message=found.message,
        result=msgspec.Raw((found.result or "null").encode()),
        error=found.error,
        platform_agent_id=found.agent,
        queue_priority=found.queue_priority,
        attempt=found.attempt,
        retry_count=found.retry_count,
        retry_of=found.retry_of,
        attempts=_attempts(found),
        created_at=found.created_at,
        queued_at=found.queued_at,
        assigned_at=found.assigned_at,
        started_at=found.started_at,
        completed_at=found.completed_at,
        position=position,
    )


def submitted(new: NewJob, accepted: Accepted) -> wire.Job:
    """As it was first told: queued, or in the hands of its first agent."""
    first = accepted.assignment
    return wire.Job(
        id=accepted.id,
        tenant_id=new.tenant,
        type=new.type,
        priority=new.priority,
        status=JobStatus.QUEUED if first is None else JobStatus.ASSIGNED,
        payload=msgspec.Raw(new.payload.encode()),
        capabilities=tuple(sorted(new.requirement.capabilities)),
        preferred_region=new.requirement.preferred_region,
        timeout=new.timeout_seconds,
        progress=None,
        message=None,
        result=msgspec.Raw(b"null"),
        error=None,
        platform_agent_id=None if first is None else first.agent,
        queue_priority=base_priority(new.priority),
        attempt=0 if first is None else 1,
        retry_count=0,
        retry_of=new.retry_of,
        attempts=() if first is None else (wire.Attempt(attempt=1, agent_id=first.agent, assigned_at=first.at),),
        created_at=accepted.queued_at,
        queued_at=accepted.queued_at,
        assigned_at=None if first is None else first.at,
        started_at=None,
        completed_at=None,
        position=accepted.position if first is None else 0,
    )


def _attempts(found: store.Job) -> tuple[wire.Attempt, ...]:
    """Those that ended without a result, and the latest."""
    ended = tuple(
        wire.Attempt(
            attempt=a.attempt,
            agent_id=a.agent_id,
            assigned_at=a.assigned_at,
            ended_at=a.ended_at,
            outcome=a.outcome,
            reason=a.reason,
        )
        for a in found.attempts
    )
    if found.agent is None or found.attempt in {a.attempt for a in ended}:
        return ended
    latest = wire.Attempt(
        attempt=found.attempt,
        agent_id=found.agent,
        assigned_at=found.assigned_at,
        ended_at=found.completed_at,
        outcome=None if found.status in HELD else found.status.value,
        reason=found.error,
    )
    return (*ended, latest)
