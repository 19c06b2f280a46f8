import subprocess
import sys

from platform_stack.processes import accepts, free_port

CHOOSE = (
    "from platform_stack import processes; processes._PORTS = range({low}, {low} + 4); print(processes.free_port())"
)


def chosen_by_another_process(low: int) -> int:
    """Of this port and the next three."""
    command = [sys.executable, "-c", CHOOSE.format(low=low)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_port_is_given_to_one_process_though_nobody_listens_there_yet() -> None:
    ours = free_port()
    assert not accepts(ours)
    assert ours not in {chosen_by_another_process(ours) for _ in range(8)}
