"""What holds for every workload: the restricted pod security standard, and what a cluster needs to know of it."""

from rendering import Workload


def test_a_pod_meets_the_restricted_standard(workload: Workload) -> None:
    security = workload.pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & workload.pod.keys()
    kinds = {kind for volume in workload.pod.get("volumes", []) for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "configMap", "secret", "projected", "persistentVolumeClaim"}


def test_every_container_is_restricted_on_a_read_only_root(workload: Workload) -> None:
    for container in workload.containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, container["name"]


def test_a_pod_has_no_credential_of_the_cluster_and_no_injected_variables(workload: Workload) -> None:
    assert workload.pod["automountServiceAccountToken"] is False
    assert workload.pod["enableServiceLinks"] is False


def test_every_container_requests_what_it_needs_and_is_bounded_in_memory(workload: Workload) -> None:
    for container in workload.containers:
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, container["name"]
        assert "memory" in container["resources"]["limits"], container["name"]
        # A limit on the processor only makes a busy pod slow.
        assert "cpu" not in container["resources"]["limits"], container["name"]


def test_no_secret_is_written_into_a_manifest(workload: Workload) -> None:
    for container in workload.containers:
        for variable in container.get("env", []):
            if any(word in variable["name"] for word in ("SECRET", "PASSWORD", "TOKEN", "KEY", "_URL")):
                plain = variable.get("value", "")
                assert not plain or plain.startswith("http://gateway:"), variable["name"]


def test_a_volume_in_memory_or_on_the_node_is_bounded(ours: Workload) -> None:
    for volume in ours.pod.get("volumes", []):
        assert volume["emptyDir"].keys() == {"sizeLimit"}


def test_what_runs_for_ever_is_spread_over_nodes_and_zones(ours: Workload) -> None:
    if ours.kind == "Job":
        return
    keys = [spread["topologyKey"] for spread in ours.pod["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for spread in ours.pod["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= ours.labels.items()
        assert "app.kubernetes.io/name" in spread["matchLabelKeys"]


def test_what_runs_for_ever_has_a_disruption_budget(ours: Workload) -> None:
    if ours.kind == "Job":
        return
    budgets = [
        budget["spec"]["maxUnavailable"]
        for budget in ours.others("PodDisruptionBudget")
        if budget["spec"]["selector"]["matchLabels"].items() <= ours.labels.items()
    ]
    assert budgets == [1]
    assert ours.manifest["spec"]["replicas"] > 1


def test_a_rollout_never_takes_one_away_before_the_next_is_ready(ours: Workload) -> None:
    if ours.kind == "Deployment":
        assert ours.manifest["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_pod_may_take_longer_to_end_than_its_drain_takes(ours: Workload) -> None:
    drains = {"agent": 30, "gateway": 70}
    # A service: preStop, then what kit.serve allows open requests.
    needed = 15 + 20 if ours.is_service else drains.get(ours.name, 0)
    assert ours.pod.get("terminationGracePeriodSeconds", 30) >= needed + 15


def test_the_default_denial_holds_for_every_pod(workload: Workload) -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in workload.others("NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert workload.manifest["metadata"].get("namespace") == next(
        (policy["metadata"].get("namespace") for policy in workload.others("NetworkPolicy")), None
    )
