"""Plans of the store's statements with nothing, a thousand and a million jobs; writes docs/plans.md."""

import asyncio
import sys
import tempfile
from pathlib import Path

from planning.drive import cast, drive
from planning.load import Size, load
from planning.page import Times, by_statement, offences, page
from planning.watch import large, watching

from platform_ops import migrate
from platform_stack import engines
from platform_stack.processes import free_port

SIZES = (Size("0", 0, 100), Size("1 k", 1_000, 100), Size("1 M", 1_000_000, 10_000))
PAGE = Path(__file__).parents[1] / "docs/plans.md"
TABLE = "<!-- make plans -->\n"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="platform-plans-") as folder:
        server = engines.Postgres(Path(folder), free_port(), settings=engines.THROW_AWAY)
        server.start()
        try:
            sizes, wrong = asyncio.run(_everything(server))
        finally:
            server.stop()
    explained, _ = PAGE.read_text().split(TABLE)
    PAGE.write_text(f"{explained}{TABLE}{page(sizes)}\n")
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong else 0


async def _everything(server: engines.Postgres) -> tuple[dict[str, Times], list[str]]:
    sizes: dict[str, Times] = {}
    wrong: list[str] = []
    for number, size in enumerate(SIZES):
        engines.create_database(server, f"plans_{number}")
        dsn = server.dsn(f"plans_{number}")
        migrate.up(dsn)
        await load(dsn, size)
        async with watching(dsn) as conn:
            who = await cast(conn)
            tables = await large(conn, rows=1000)
            # The first rounds plan for their arguments, the others keep one plan for all.
            for plans in ("auto", "auto", "force_generic_plan", "force_generic_plan"):
                await conn.execute(f"SET plan_cache_mode = {plans}")
                await drive(conn, who)
            sizes[size.name] = by_statement(conn.seen)
            # With a thousand rows to read and hundreds wanted, to read all is right.
            if size.jobs != 1_000:
                wrong += offences(conn.seen, tables)
        print(f"{size.name} jobs: {len(sizes[size.name])} statements")
    return sizes, wrong


if __name__ == "__main__":
    sys.exit(main())
