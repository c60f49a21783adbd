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


def configuration(ports: Ports, *, scrape_s: float) -> str:
    """Return JSON, which is YAML; rule files are in rules/ beside it.

    scrape_s: wall seconds, kept to the millisecond.
    """
    client = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"}
    jobs = [
        _job("saturation", ports.saturation, tls={"ca_file": "ca.crt"}),
        _job("broker", ports.broker_prometheus),
        _job("broker-queues", ports.broker_prometheus, path="/metrics/detailed", query=QUEUE_FAMILIES),
        _job("fleet", ports.fleet),
        _job("verifier", ports.verifier),
        _job("scale-in", ports.scale_in),
        _job("keda", ports.keda_operator_metrics),
        _job("kwok", ports.kwok),
        # The API server tells some 20,000 series of itself; these are the ones our boards ask for.
        _job(
            "apiserver",
            ports.apiserver,
            tls=client,
            keep="apiserver_request_total|apiserver_current_inflight.*",
        ),
    ]
    interval = f"{round(scrape_s * 1000)}ms"
    settings = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    return json.dumps({"global": settings, "rule_files": ["rules/*.yaml"], "scrape_configs": jobs}, indent=1)


QUEUE_FAMILIES = {"family": ["queue_coarse_metrics", "queue_consumer_count"], "vhost": ["surge"]}


def _job(
    name: str,
    port: int,
    *,
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
    if query:
        job["params"] = query
    if tls:
        job |= {"scheme": "https", "tls_config": tls}
    if keep:
        job["metric_relabel_configs"] = [{"source_labels": ["__name__"], "regex": keep, "action": "keep"}]
    return job
