"""Is a fitting poll known to wait?"""

import pytest
from redis.asyncio import Redis

from platform_core.domain.scheduling import Profile, Requirement, fits
from platform_server.signals import waiting

PROFILE = Profile(frozenset({"nuclei", "nmap"}), frozenset({"nuclei"}), "us-east-1")


async def somebody_fits(client: Redis, requirement: Requirement) -> bool:
    return any(fits(requirement, profile) for profile in await waiting.offered(client))


@pytest.mark.parametrize(
    ("capabilities", "tool", "region", "found"),
    [
        ({"nuclei"}, "nuclei", None, True),
        (set(), None, None, True),
        ({"nuclei"}, "nuclei", "eu-west-1", True),
        ({"trivy"}, "nuclei", None, False),
        ({"nuclei"}, "trivy", None, False),
    ],
    ids=["fits", "asks for nothing", "another region is no obstacle", "capability missing", "tool missing"],
)
async def test_somebody_fits(
    client: Redis, capabilities: set[str], tool: str | None, region: str | None, found: bool
) -> None:
    await waiting.announce(client, "dispatcher-1", [])
    await waiting.announce(client, "dispatcher-2", [PROFILE])
    requirement = Requirement(frozenset(capabilities), tool, region)
    assert await somebody_fits(client, requirement) is found


async def test_nobody_waits_until_somebody_says_so_nor_after_it_took_it_back(client: Redis) -> None:
    anything = Requirement(frozenset(), None, None)
    assert not await somebody_fits(client, anything)
    await waiting.announce(client, "dispatcher-1", [PROFILE])
    assert await somebody_fits(client, anything)
    await waiting.announce(client, "dispatcher-1", [])
    assert not await somebody_fits(client, anything)


async def test_what_a_dispatcher_says_holds_for_five_seconds(client: Redis) -> None:
    await waiting.announce(client, "dispatcher-1", [PROFILE])
    assert 0 < await client.pttl("waiting:dispatcher-1") <= 5000
    await client.delete("waiting:dispatcher-1")
    assert not await somebody_fits(client, Requirement(frozenset(), None, None))


async def test_with_redis_away_nobody_is_known_to_wait(away: Redis) -> None:
    await waiting.announce(away, "dispatcher-1", [PROFILE])
    assert not await somebody_fits(away, Requirement(frozenset(), None, None))
