"""No statement that a job meets on its way reads a large table whole. `make plans` says so of a million jobs."""

from planning.drive import cast, drive
from planning.load import Size, load
from planning.page import by_statement, offences, page
from planning.watch import Watching, large, watching

# What a job's way, its tenant and its agent need; each of them was seen.
HOT = {
    "submissions.submit", "idempotency.find", "idempotency.remember", "claims.lock_and_begin",
    "claims.assign_if_queued", "agents.identity", "polls.note_polls", "polls.any_queued",
    "attempts.ack_if_current_attempt", "attempts.progress_if_current_attempt", "attempts.complete_if_current_attempt",
    "attempts.standing", "attempts.requeue_if_held_on_attempt", "presence.note_heartbeats", "presence.jobs_of_agents",
    "jobs.page", "jobs.page_of_uncompleted", "jobs.positions", "archive.move_finished", "archive.delete_old",
    "sweeps.lock_lost", "sweeps.expire_old", "sweeps.refresh_priorities",
}  # fmt: skip
JOBS = {"commands", "finished_commands"}
KEPT = "SET plan_cache_mode = force_generic_plan"


async def rounds(conn: Watching) -> None:
    """The first plans for its arguments, the second keeps one plan for all."""
    who = await cast(conn)
    await drive(conn, who)
    await conn.execute(KEPT)
    await drive(conn, who)


async def test_every_statement_runs_where_there_is_nothing(database: str) -> None:
    await load(database, Size("0", 0, 100))
    async with watching(database) as conn:
        await rounds(conn)
    seen = by_statement(conn.seen)
    assert seen.keys() >= HOT
    assert all(f"| `{name}` |" in page({"0": seen}) for name in seen)


async def test_every_statement_runs_with_a_thousand_jobs(database: str) -> None:
    await load(database, Size("1 k", 1_000, 100))
    async with watching(database) as conn:
        await rounds(conn)
    assert by_statement(conn.seen).keys() >= HOT


async def test_no_statement_reads_all_jobs(database: str) -> None:
    """With a thousand, to read all is at times the shorter way."""
    await load(database, Size("3 k", 3_000, 100))
    async with watching(database) as conn:
        tables = await large(conn, rows=2_500)
        await rounds(conn)
    assert tables.keys() >= JOBS
    assert offences(conn.seen, JOBS) == []


async def test_a_table_that_is_read_whole_is_noticed(database: str) -> None:
    """Without the index of lists, say."""
    await load(database, Size("1 k", 1_000, 100))
    async with watching(database) as conn:
        await conn.execute("DROP INDEX finished_commands_tenant, finished_commands_uncompleted")
        await rounds(conn)
    assert "tenants.delete_some_finished_jobs reads all of finished_commands" in offences(conn.seen, JOBS)
