"""Agents: their states, their silence, the names they may have, and what a bootstrap token asks of them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

STALE_AFTER = timedelta(seconds=60)
HEARTBEAT_INTERVAL = timedelta(seconds=30)
MAX_NAMES = 50

_NAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{0,49}\Z", re.ASCII)


class AdminState(StrEnum):
    ENABLED = "enabled"
    DRAINING = "draining"
    DISABLED = "disabled"


class AgentStatus(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"
    DRAINING = "draining"
    DISABLED = "disabled"


def status_of(admin_state: AdminState, *, online: bool) -> AgentStatus:
    """The status people see: what an administrator said comes first, but an agent that is away drains nothing."""
    if admin_state is AdminState.DISABLED:
        return AgentStatus.DISABLED
    if not online:
        return AgentStatus.OFFLINE
    return AgentStatus.DRAINING if admin_state is AdminState.DRAINING else AgentStatus.ONLINE


def is_stale(silent_for: timedelta) -> bool:
    return silent_for >= STALE_AFTER


def is_name(text: str) -> bool:
    """May this be the name of a capability, tool, region or label?"""
    return _NAME.match(text) is not None


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a bootstrap token asks of the agents that register with it."""

    capabilities: Collection[str] = ()
    tools: Collection[str] = ()
    region: str | None = None


def unmet(
    constraint: Constraint, *, capabilities: Collection[str], tools: Collection[str], region: str | None
) -> list[str]:
    """What the agent lacks, in words; empty when it meets the constraint."""
    lacks = [f"capability {name}" for name in constraint.capabilities if name not in capabilities]
    lacks += [f"tool {name}" for name in constraint.tools if name not in tools]
    if constraint.region is not None and region != constraint.region:
        lacks.append(f"region {constraint.region}")
    return lacks
