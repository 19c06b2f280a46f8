"""The worker's steps at their intervals."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from platform_core.wire.events import AgentEvent
from platform_server.kit.loops import Loop
from platform_server.signals.streams import Reader
from platform_server.store.leases import Step, while_acting
from queue_maintenance.gauges import Gauges
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker


def loops_of(worker: QueueWorker, gauges: Gauges, events: Reader[AgentEvent], settings: Settings) -> Sequence[Loop]:
    def acting(name: str, step: Step, seconds: float) -> Loop:
        return Loop(name, while_acting(step), timedelta(seconds=seconds))

    return [
        Loop("lease", worker.acting.renew, worker.acting.renewed_every),
        Loop("gauges", gauges.tell, timedelta(seconds=settings.gauges_interval_seconds)),
        acting("recovery", worker.recover, settings.recovery_interval_seconds),
        acting("expiry", worker.expire, settings.expiry_interval_seconds),
        acting("priority-update", worker.refresh_priorities, settings.priority_interval_seconds),
        acting("reconciliation", worker.reconcile, settings.reconcile_interval_seconds),
        acting("archive", worker.archive_in_batches, settings.archive_interval_seconds),
        acting("retention", worker.retain, settings.retention_interval_seconds),
        acting("confirmations", worker.free_unconfirmed, settings.confirmation_interval_seconds),
        # It waits inside, for events.
        acting("agent-events", partial(worker.follow, events), 0.2),
    ]
