"""The rule that hands out jobs (docs/scheduling.md): a snapshot goes in, hand-outs come out.

Fairness between tenants comes first, the published priority inside it. `hand_out` is the executable model. The claim
computes the standing of all tenants in SQL, takes the foremost, and lets `fill` decide; a test compares the two.
"""

from platform_core.domain.filling import Ledger, Slots
from platform_core.domain.scheduling import Decision, HandOut, Snapshot, Standing
from platform_core.domain.standing import stand
from platform_core.domain.waiting import Queue


def hand_out(snapshot: Snapshot) -> Decision:
    """Fill the offered slots one after another, from all that waits."""
    queue = Queue(snapshot)
    return _fill(snapshot, stand(snapshot, queue), queue)


def fill(snapshot: Snapshot, standing: Standing) -> Decision:
    """The same, as tenants are known to stand. ``snapshot`` may leave out tenants that stand behind enough others."""
    return _fill(snapshot, standing, Queue(snapshot))


def _fill(snapshot: Snapshot, standing: Standing, queue: Queue) -> Decision:
    """V, S and the shares are frozen at the start; everything else follows the hand-outs made earlier in the batch."""
    ledger = Ledger(snapshot, standing, queue)
    slots = Slots(snapshot)
    handed_out: list[HandOut] = []
    while (offer := slots.take()) is not None:
        taken = ledger.take(offer)
        if taken is not None:
            slots.filled()
            handed_out.append(taken)
    contending = frozenset(t for t in snapshot.tenants if queue.servable_on(t))
    return Decision(handed_out, ledger.turns, contending, standing.virtual_times)
