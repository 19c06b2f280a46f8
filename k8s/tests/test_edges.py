"""The network policies, as the table of who may call whom that they come to."""

from itertools import product

from rendering import Manifest, render, workloads

SERVICES = ("agent-health", "dispatcher", "job-intake", "queue-maintenance", "registration")
BEHIND_THE_GATEWAY = tuple(name for name in SERVICES if name != "queue-maintenance")
EDGES = (
    {("gateway", name, 8000) for name in BEHIND_THE_GATEWAY}
    | {(name, "postgres", 5432) for name in (*SERVICES, "migrate")}
    | {(name, "redis", 6379) for name in SERVICES}
    | {("agent", "gateway", 8080), ("agent-health", "gateway", 8080)}
)


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    named = selector.get("matchLabels", {}).items() <= labels.items()
    listed = all(labels.get(rule["key"]) in rule["values"] for rule in selector.get("matchExpressions", []))
    return named and listed


def allowed(policies: list[Manifest], direction: str, labels: dict[str, str], peer: dict[str, str], port: int) -> bool:
    """May the pod with these labels send to the peer (egress), or be sent to by it (ingress)?"""
    side = "to" if direction == "egress" else "from"
    for policy in policies:
        if not matches(policy["spec"]["podSelector"], labels):
            continue
        for rule in policy["spec"].get(direction, []):
            peers = rule.get(side)
            known = peers is None or any(
                "podSelector" in one and "namespaceSelector" not in one and matches(one["podSelector"], peer)
                for one in peers
            )
            if known and any(each["port"] == port for each in rule["ports"]):
                return True
    return False


def test_whoever_calls_whom_is_on_the_list_and_nobody_else_can() -> None:
    policies = [manifest for manifest in render("overlays/dev") if manifest["kind"] == "NetworkPolicy"]
    pods = {one.name: one.labels for one in workloads("overlays/dev")}
    found = {
        (caller, called, port)
        for (caller, labels), (called, others) in product(pods.items(), repeat=2)
        for port in (5432, 6379, 8000, 8080, 9000)
        if caller != called
        and allowed(policies, "egress", labels, others, port)
        and allowed(policies, "ingress", others, labels, port)
    }
    assert found == EDGES


def test_only_agents_reach_the_world_and_nothing_private_in_it() -> None:
    blocks = {
        policy["metadata"]["name"]: peer["ipBlock"]
        for policy in render("base")
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    }
    assert blocks.keys() == {"agents-to-public-https"}
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= {
        *blocks["agents-to-public-https"]["except"]
    }
