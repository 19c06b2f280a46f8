"""The brake on mass requeueing: when most agents fall silent at once the fault is ours, and their scans go on.

With 20 or more agents there, 55 % or more of them silent within 120 s pull it. It is released when fewer are silent,
after 10 minutes, or by an administrator. Agents turn offline all the same; queue-maintenance looks at the brake.
"""

from datetime import timedelta
from typing import Final

from prometheus_client import Gauge

from platform_server.kit import logs
from platform_server.store import presence
from platform_server.store.connection import Conn
from platform_server.store.presence import Silence

log = logs.logger(__name__)

ON = Gauge("platform_requeue_brake", "1 while requeueing pauses because too many agents fell silent at once.")

LEAST_AGENTS: Final = 20
SHARE: Final = 0.55
WINDOW: Final = timedelta(seconds=120)
LASTS: Final = timedelta(minutes=10)
# While it is on, agents that fell silent up to so long before it count: an outage of the gateway may have come first.
LOOK_BACK: Final = timedelta(minutes=15)


def too_many(told: Silence) -> bool:
    """Did so many fall silent that the fault must be ours?"""
    return told.watched >= LEAST_AGENTS and told.silent >= SHARE * told.watched


async def judge(conn: Conn, *, stale_after: timedelta) -> bool:
    """Pull the brake or release it; is it on? It is judged before anybody is marked offline, in that transaction."""
    left = await presence.brake_left(conn)
    within = WINDOW if left is None else LASTS - left + LOOK_BACK
    told = await presence.silence(conn, after=stale_after, within=within)
    if too_many(told) and left is None:
        await presence.pull_brake(conn, lasts=LASTS)
        log.error("requeue_brake_pulled", silent=told.silent, watched=told.watched)
    elif not too_many(told) and left is not None:
        await presence.release_brake(conn)
        log.warning("requeue_brake_released", silent=told.silent, watched=told.watched)
    return too_many(told)
