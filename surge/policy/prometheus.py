"""Prometheus of a local cluster: its command line and its scrape configuration."""

import json
from typing import Any

from surge.policy.ports import Ports

__all__ = ["command", "configuration"]


def command(port: int, *, retention: str) -> list[str]:
    return [
        "prometheus",
        "--config.file={dir}/prometheus.yml",
        "--storage.tsdb.path={dir}/data",
        f"--storage.tsdb.retention.time={retention}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]


def configuration(ports: Ports, *, scrape_s: float, compressed_s: float) -> str:
    """Return JSON, which is YAML; rule files are in rules/ beside it.

    scrape_s: how often, in wall seconds, what runs at its own pace is read: the broker's node, KEDA, KWOK
    and the API server; so are the rules, whose windows are of wall time. compressed_s: the same of what plays
    in the stack's compressed time. Both are kept to the millisecond.
    """
    client = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"}
    pace = f"{round(scrape_s * 1000)}ms"
    jobs = [
        _job("saturation", ports.saturation, tls={"ca_file": "ca.crt"}),
        _job("broker-queues", ports.broker_prometheus, path="/metrics/detailed", query=QUEUE_FAMILIES),
        _job("fleet", ports.fleet),
        _job("verifier", ports.verifier),
        _job("scale-in", ports.scale_in),
        _job("broker", ports.broker_prometheus, interval=pace),
        _job("keda", ports.keda_operator_metrics, interval=pace),
        _job("kwok", ports.kwok, interval=pace),
        # The API server tells some 20,000 series of itself; these are the ones our boards ask for.
        _job(
            "apiserver",
            ports.apiserver,
            interval=pace,
            tls=client,
            keep="apiserver_request_total|apiserver_current_inflight.*",
        ),
    ]
    compressed = f"{round(compressed_s * 1000)}ms"
    settings = {
        "scrape_interval": compressed,
        "scrape_timeout": compressed,
        "evaluation_interval": pace,
    }
    return json.dumps({"global": settings, "rule_files": ["rules/*.yaml"], "scrape_configs": jobs}, indent=1)


QUEUE_FAMILIES = {"family": ["queue_coarse_metrics", "queue_consumer_count"], "vhost": ["surge"]}


def _job(
    name: str,
    port: int,
    *,
    interval: str | None = None,
    path: str = "/metrics",
    query: dict[str, list[str]] | None = None,
    tls: dict[str, str] | None = None,
    keep: str | None = None,
) -> dict[str, Any]:
    job: dict[str, Any] = {
        "job_name": name,
        "metrics_path": path,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
    }
    if interval:
        job["scrape_interval"] = interval
    if query:
        job["params"] = query
    if tls:
        job |= {"scheme": "https", "tls_config": tls}
    if keep:
        job["metric_relabel_configs"] = [{"source_labels": ["__name__"], "regex": keep, "action": "keep"}]
    return job
