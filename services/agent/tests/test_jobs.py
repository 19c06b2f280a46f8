"""A job's way through the agent: ack, work, progress, result; and the ways to stop it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.responses import JSONResponse

from exploop_agent import agent as agent_module
from exploop_agent import scan
from platform_core.domain.jobs import JobType


def remove(file: Path) -> None:
    file.unlink()


Agent = Callable[..., Any]
Until = Callable[..., Any]


async def test_a_job_is_acknowledged_before_it_is_worked_on(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.about(job)[0] == "ack"
    assert platform.about(job)[-1] == "result"
    assert set(platform.about(job)[1:-1]) == {"progress"}


async def test_the_findings_come_back_in_one_shape(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.result(job) == {
        "status": "completed",
        "result": {
            "findings": [
                {"tool": "bandit", "rule_id": "R1", "severity": "high", "message": "bad", "path": "a.py", "line": 3}
            ],
            "summary": "Found 1 problem: 1 high",
        },
        "error": None,
    }


async def test_a_job_that_may_not_be_acknowledged_is_not_worked_on(
    platform: Any, agent: Agent, sleeps: Path, sample: Path, until: Until
) -> None:
    platform.refusals["ack"] = [JSONResponse({"code": "attempt_superseded"}, 409)]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: len(platform.asked("poll")) == 2)
    assert platform.about(job) == ["ack", "release"]
    await until(lambda: not sleeps.exists())


async def test_an_acknowledgement_is_tried_until_the_platform_answers(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    platform.refusals["ack"] = [JSONResponse({}, 503)]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.about(job)[:2] == ["ack", "ack"]


async def test_progress_rises_while_a_scanner_runs(
    platform: Any, agent: Agent, sleeps: Path, sample: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_PROGRESS_SECONDS", 0.01)
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.about(job).count("progress") > 20)
    told = [body["progress"] for body in platform.asked(f"progress/{job}")]
    assert told[:4] == [5, 10, 15, 20]
    assert max(told) == 90


async def test_a_scan_goes_on_while_progress_cannot_be_told(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    platform.refusals["progress"] = [JSONResponse({}, 503) for _ in range(3)]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.result(job)["status"] == "completed"


@pytest.mark.parametrize("way", ["an event", "a lost event", "a progress answer", "a heartbeat", "a lost heartbeat"])
async def test_a_cancelled_job_s_scanner_is_dead_within_a_second(
    platform: Any,
    agent: Agent,
    sleeps: Path,
    sample: Path,
    until: Until,
    still_alive: Callable[[Path], list[int]],
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "_BEAT_SECONDS", 0.05 if "heartbeat" in way else 30)
    monkeypatch.setattr(scan, "_PROGRESS_SECONDS", 0.05 if "progress" in way else 10)
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(sleeps.exists)
        await until(lambda: platform.listeners == 1)
        assert len(still_alive(sleeps)) == 2
        begun = time.monotonic()
        match way:
            case "an event":
                platform.tell("cancelled", job)
            case "a lost event":
                platform.tell("lost", job)
            case "a lost heartbeat":
                platform.lost.add(job)
            case _:
                platform.cancelled.add(job)
        # A platform that answered nothing else asks for a beat a second.
        await until(lambda: not still_alive(sleeps))
        assert time.monotonic() - begun < 1.5
        await until(lambda: "release" in platform.about(job))
    assert platform.result(job) is None


async def test_a_job_that_outlives_its_timeout_is_stopped_and_failed_with_reason_timeout(
    platform: Any, agent: Agent, sleeps: Path, sample: Path, until: Until, still_alive: Callable[[Path], list[int]]
) -> None:
    job = platform.submit(tool="bandit", target="sample", timeout=1)
    async with agent():
        await until(lambda: platform.result(job))
        assert platform.result(job) == {"status": "failed", "result": None, "error": "timeout"}
        assert not still_alive(sleeps)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"tool": "bandit"}, "the payload cannot be read"),
        ({"tool": "gosec", "target": "sample"}, "gosec is not installed on this agent"),
        ({"tool": "rm", "target": "sample"}, "rm is not installed on this agent"),
        ({"tool": "bandit", "target": "elsewhere"}, "the path does not exist in the tenant's workspace"),
    ],
)
async def test_a_job_that_cannot_be_done_fails_and_says_why(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until, payload: dict[str, str], error: str
) -> None:
    job = platform.submit(**payload)
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.result(job) == {"status": "failed", "result": None, "error": error}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("print('one'); print('no such rule'); sys.exit(2)", "bandit ended with code 2: no such rule"),
        ("sys.exit(1)", "bandit ended with code 1: it said nothing"),
        ("open(report, 'w').write('{')", "the scanner's report cannot be read"),
        ("x = bytearray(700 * 2**20); time.sleep(30)", "the scanner needed more memory than it may have"),
    ],
    ids=["a code of its own", "no report", "half a report", "too much memory"],
)
async def test_a_scanner_that_breaks_fails_its_job_and_says_why(
    platform: Any, agent: Agent, scanner: Callable[..., Any], sample: Path, until: Until, body: str, error: str
) -> None:
    scanner("bandit", body)
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.result(job)["error"] == error


async def test_a_scanner_that_is_gone_fails_its_job_and_not_the_agent(
    platform: Any, agent: Agent, finds_one: Path, sample: Path, until: Until
) -> None:
    async with agent():
        remove(finds_one)
        job = platform.submit(tool="bandit", target="sample")
        await until(lambda: platform.result(job))
        assert platform.result(job)["error"] == "the agent could not run it"
        await until(lambda: len(platform.asked("poll")) == 2)


async def test_a_payload_that_is_no_text_fails_its_job_and_not_the_agent(
    platform: Any, agent: Agent, finds_one: Path, sample: Path, until: Until
) -> None:
    job = platform.submit()
    polled = platform.waiting.get_nowait()
    platform.waiting.put_nowait(
        msgspec.structs.replace(polled, payload=msgspec.Raw(b'{"tool": "\xff", "target": "."}'))
    )
    async with agent():
        await until(lambda: platform.result(job))
    assert platform.result(job)["status"] == "failed"


async def test_findings_beyond_10_megabytes_are_cut_off_and_the_summary_says_so(
    platform: Any, agent: Agent, scanner: Callable[..., Any], sample: Path, until: Until
) -> None:
    scanner(
        "bandit",
        "import json\n"
        "one = {'ruleId': 'R' * 999, 'message': {'text': '\\x01' * 999}}\n"
        "json.dump({'runs': [{'results': [one] * 4000}]}, open(report, 'w'))",
    )
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job), seconds=20)
    told = platform.result(job)["result"]
    assert 0 < len(told["findings"]) < 4000
    assert told["summary"].endswith("(cut off: the report was too large)")


async def test_a_collect_job_tells_the_agent_s_inventory(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    job = platform.submit(JobType.COLLECT, kinds=["host", "tools"])
    async with agent():
        await until(lambda: platform.result(job))
    told = platform.result(job)["result"]
    assert set(told) == {"host", "tools"}
    assert "bandit" in told["tools"]


async def test_a_health_check_tells_whether_the_agent_can_work(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, until: Until
) -> None:
    job = platform.submit(JobType.HEALTH_CHECK)
    async with agent():
        await until(lambda: platform.result(job))
    told = platform.result(job)["result"]
    assert told["checks"]["tools_installed"] is True
    assert told["checks"]["state_writable"] is True
