"""The saturation server of a real cluster, as the engine would be asked for it."""

import json
from typing import Any

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

from components.monitored import alert_rules
from metrics_server import Config
from metrics_server.config import read_filters, read_tokens
from tests.engine.recording import RecordingMonitor, record
from tests.engine.saturation_program import IMAGE, program, settings

AUTHENTICATION = "kubernetes:keda.sh/v1alpha1:ClusterTriggerAuthentication"


@pytest.fixture(scope="module")
def seen() -> RecordingMonitor:
    return record(program())


def inputs(seen: RecordingMonitor, kind: str) -> dict[str, Any]:
    """Of the one object of this kind that the server has in its own namespace."""
    [found] = [
        item.inputs
        for item in seen.resources.values()
        if item.token.endswith(f":{kind}") and item.inputs["metadata"].get("namespace") == "surge"
    ]
    return found


def plain(value: Any) -> Any:
    """`value` without the wrapping of secrets."""
    return value.get("value") if isinstance(value, dict) and "value" in value else value


def test_the_files_in_the_pods_are_what_the_server_reads(seen, tmp_path):
    data = inputs(seen, "ConfigMap")["data"]
    (tmp_path / "config.json").write_text(data["config.json"])
    config = Config.read(tmp_path / "config.json")
    assert (config.stale_s, config.windows_s[-1]) == (20, 300)
    assert config.filters_file == tmp_path / "filters.json"
    assert {"ghibli", "beard"} <= read_filters(data["filters.json"].encode()).keys()
    assert len(read_tokens(plain(inputs(seen, "Secret")["stringData"])["tokens"].encode())) == 1


def test_the_pods_mount_every_file_that_the_settings_name(seen):
    pod = inputs(seen, "Deployment")["spec"]["template"]["spec"]
    assert mounted(pod) == {"config.json", "filters.json", "tls.crt", "tls.key", "tokens"}
    [mount] = pod["containers"][0]["volumeMounts"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/etc/saturation", True)


def test_with_amqp_the_server_watches_the_broker_behind_a_user_and_an_authority(tmp_path):
    seen = record(
        program(
            settings=settings(
                amqp=["amqps://broker-0.broker.rabbitmq.svc", "amqps://broker-1.broker.rabbitmq.svc"],
                management=["https://broker.rabbitmq.svc:15671"],
                own_authority=True,
            ),
            broker_credentials="saturation:of-the-tests",
            broker_authority="the broker's",
        )
    )
    data, secret = inputs(seen, "ConfigMap")["data"], plain(inputs(seen, "Secret")["stringData"])
    (tmp_path / "config.json").write_text(data["config.json"])
    config = Config.read(tmp_path / "config.json")
    assert config.events
    assert (len(config.amqp), len(config.management)) == (2, 1)
    assert config.credentials_file == tmp_path / "credentials"
    assert config.ca_file == tmp_path / "broker-ca.crt"
    assert (secret["credentials"], data["broker-ca.crt"]) == ("saturation:of-the-tests", "the broker's")
    pod = inputs(seen, "Deployment")["spec"]["template"]["spec"]
    assert {"credentials", "broker-ca.crt"} <= mounted(pod)
    broker, _ = inputs(seen, "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for port in broker["ports"]] == [5671, 15671, 15692]


def mounted(pod: dict[str, Any]) -> set[str]:
    [volume] = pod["volumes"]
    return {
        item["path"]
        for source in volume["projected"]["sources"]
        for item in next(iter(source.values()))["items"]
    }


def test_the_pods_hold_no_right_they_do_not_need(seen):
    pod = inputs(seen, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["image"] == IMAGE
    assert (
        pod["terminationGracePeriodSeconds"]
        > json.loads(inputs(seen, "ConfigMap")["data"]["config.json"])["grace_s"]
    )


def test_a_drain_of_a_node_leaves_a_server_and_an_update_takes_none(seen):
    deployment, budget = inputs(seen, "Deployment")["spec"], inputs(seen, "PodDisruptionBudget")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["replicas"] == 2
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_no_two_pods_share_a_node_and_zones_are_spread_where_there_are_any(seen):
    template = inputs(seen, "Deployment")["spec"]["template"]
    nodes, zones = template["spec"]["topologySpreadConstraints"]
    assert (nodes["topologyKey"], nodes["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
    assert (zones["topologyKey"], zones["whenUnsatisfiable"]) == (
        "topology.kubernetes.io/zone",
        "ScheduleAnyway",
    )
    for each in (nodes, zones):
        assert each["maxSkew"] == 1
        assert each["labelSelector"] == {"matchLabels": template["metadata"]["labels"]}
        assert each["matchLabelKeys"] == ["pod-template-hash"]


def test_memory_is_asked_for_and_bounded_and_cpu_is_never_throttled(seen):
    [container] = inputs(seen, "Deployment")["spec"]["template"]["spec"]["containers"]
    asked, most = container["resources"]["requests"], container["resources"]["limits"]
    assert asked.keys() == {"cpu", "memory"}
    assert most.keys() == {"memory"}
    assert parse_quantity(asked["memory"]) < parse_quantity(most["memory"])


def test_a_change_of_the_settings_replaces_the_pods_and_a_new_filter_does_not(seen):
    def template(**changes: Any) -> Any:
        return inputs(record(program(settings=settings(**changes))), "Deployment")["spec"]["template"]

    usual = inputs(seen, "Deployment")["spec"]["template"]
    assert template(filters=settings().filters[:2]) == usual
    assert template(stale_s=30) != usual


def test_only_keda_and_prometheus_come_in_and_only_broker_and_names_go_out(seen):
    policy = inputs(seen, "NetworkPolicy")["spec"]
    assert sorted(policy["policyTypes"]) == ["Egress", "Ingress"]
    [incoming] = policy["ingress"]
    sources = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in incoming["from"]
    ]
    assert sources == ["keda", "monitoring"]
    broker, names = policy["egress"]
    assert [port["port"] for port in broker["ports"]] == [15692]
    assert {port["port"] for port in names["ports"]} == {53}


def test_keda_gets_token_and_authority_and_a_certificate_of_its_own(seen):
    [authentication] = seen.of(AUTHENTICATION)
    given = {item["parameter"] for item in authentication.inputs["spec"]["secretTargetRef"]}
    assert given == {"token", "ca", "cert", "key"}


def test_where_keda_trusts_the_authority_already_a_token_is_all_it_gets():
    [authentication] = record(program(authority_in_keda=True)).of(AUTHENTICATION)
    assert [item["parameter"] for item in authentication.inputs["spec"]["secretTargetRef"]] == ["token"]


def test_prometheus_gets_the_alerts_as_they_are_tested(seen):
    assert inputs(seen, "PrometheusRule")["spec"] == yaml.safe_load(alert_rules("saturation").read_text())
    assert inputs(seen, "ServiceMonitor")["spec"]["jobLabel"] in inputs(seen, "Service")["metadata"]["labels"]


def test_a_token_is_rotated_in_three_steps_and_keda_always_shows_an_accepted_one():
    for accepted, used in [((1,), 1), ((1, 2), 1), ((1, 2), 2), ((2,), 2)]:
        step = record(program(accepted_tokens=accepted, used_token=used))
        tokens = plain(inputs(step, "Secret")["stringData"])["tokens"].split()
        [shown] = [
            plain(item.inputs["stringData"])["token"]
            for item in step.of("kubernetes:core/v1:Secret")
            if item.inputs["metadata"]["namespace"] == "keda"
        ]
        assert tokens == [f"one-token-{number}-result" for number in accepted]
        assert shown in tokens


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"image": "registry.example/surge/saturation:latest"}, "is not by digest"),
        ({"replicas": 1}, "nothing scales while the server"),
        ({"settings": settings(amqp=["amqp://broker"])}, "broker_credentials and settings.amqp"),
        ({"broker_credentials": "saturation:unused"}, "broker_credentials and settings.amqp"),
        ({"settings": settings(own_authority=True)}, "broker_authority and settings.own_authority"),
        ({"accepted_tokens": (1,), "used_token": 2}, "KEDA would use token 2 of accepted"),
        ({"accepted_tokens": (1, 2, 3), "used_token": 2}, "want one accepted token, or two"),
    ],
)
def test_what_would_break_it_is_refused_before_the_first_object(changes, problem):
    with pytest.raises(ValueError, match=problem):
        record(program(**changes))
