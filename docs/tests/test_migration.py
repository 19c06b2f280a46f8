"""The page about deploying and migrating follows the specification's steps and knows every migration and plan."""

import re
from pathlib import Path

import pytest

from platform_core.domain.plans import PLANS
from platform_ops import migrate

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/migration.md").read_text()


@pytest.mark.parametrize(
    "step",
    [
        "**1. Apply the migrations**",
        "**2. Create a bootstrap token.**",
        "**3. Deploy platform agents.**",
        "**4. Configure tenants' plan limits.**",
        "**1. Run the migrations 000080 and 000081**",
        "**2.** Create bootstrap tokens, **3.** deploy agents with them, **4.** set the tenants' plans",
    ],
)
def test_a_step_of_the_specification_is_explained(step: str) -> None:
    assert step in PAGE


def test_the_page_has_every_migration() -> None:
    there = {name[:6] for name in (path.stem for path in migrate.folder().glob("*.sql")) if "rollback" not in name}
    told = re.findall(r"\d{6}", "".join(row for row in PAGE.splitlines() if re.match(r"\| \**0000", row)))
    assert set(told) == there


def test_the_page_has_the_plans() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    assert [(name, int(jobs), int(queue)) for name, jobs, queue in rows] == [
        (plan.name, plan.max_concurrent_jobs, plan.max_queue_size) for plan in PLANS.values()
    ]


@pytest.mark.parametrize("target", ["migrate-up", "migrate-down", "migrate-status"])
def test_make_has_the_migrations_commands(target: str) -> None:
    assert re.search(rf"^{target}: .*\n\t@\$\(BIN\)/platform-stack migrate {target[8:]}$", makefile(), re.MULTILINE)
    assert f"make {target}" in PAGE


def makefile() -> str:
    return (ROOT / "Makefile").read_text()
