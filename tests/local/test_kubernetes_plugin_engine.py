"""The bundled kubernetes plugin under the real engine: inline programs, file backend, real API server."""

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi import automation

from lab.control_plane import scratch_control_plane

pytestmark = pytest.mark.local

ROOT = Path(__file__).parent.parent.parent
TOOLS = ROOT / ".tools"
BASE_PORT = 23200
TEXT = "hunter2-and-more"


class Stack:
    """One stack on a file backend of its own; `run` is given the provider's resource options."""

    def __init__(self, directory, kubeconfig):
        self.directory, self.kubeconfig = directory, kubeconfig
        backend = f"file://{directory}"
        workspace = Path(directory) / "workspace"
        workspace.mkdir()
        self._options = automation.LocalWorkspaceOptions(
            work_dir=str(workspace),
            pulumi_home=str(TOOLS / "pulumi-home"),
            pulumi_command=automation.PulumiCommand(root=str(TOOLS), skip_version_check=True),
            project_settings=automation.ProjectSettings(
                "plugin", "python", backend=automation.ProjectBackend(backend)
            ),
            env_vars={
                "PULUMI_BACKEND_URL": backend,
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
            },
        )
        self.stack = automation.create_or_select_stack("dev", "plugin", lambda: None, opts=self._options)

    def program(self, run):
        def program():
            provider = k8s.Provider("cluster", kubeconfig=self.kubeconfig)
            run(pulumi.ResourceOptions(provider=provider))

        self.stack.workspace.program = program

    def up(self, **how):
        return self.stack.up(**how).summary.resource_changes

    def preview(self):
        return self.stack.preview(diff=True)

    def state(self):
        return next(Path(self.directory).rglob("stacks/**/dev.json")).read_text()


@pytest.fixture(scope="module")
def plane():
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{ROOT / 'toolchain' / 'engine' / 'bin'}:{path}"
    with scratch_control_plane(BASE_PORT, workloads=True) as plane:
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n", "annotations": {"kwok.x-k8s.io/node": "fake"}},
        }
        kubectl(plane, "apply", "-f", "-", stdin=json.dumps(node))
        yield plane
    os.environ["PATH"] = path


@pytest.fixture
def stack(plane):
    with tempfile.TemporaryDirectory() as directory:
        stack = Stack(directory, plane.kubeconfig)
        yield stack
        stack.stack.destroy()


def kubectl(plane, *arguments, stdin=None):
    command = [TOOLS / "bin" / "kubectl", "--kubeconfig", plane.kubeconfig_path, *arguments]
    return subprocess.run(command, input=stdin, text=True, check=True, capture_output=True).stdout


def pods(labels, **annotations):
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"containers": [{"name": "c", "image": "web:1", "resources": {"limits": {"cpu": "1000m"}}}]},
    }


def web(options, replicas=2, name=None, labels=None, annotations=None, **pod_annotations):
    labels = labels or {"app": "web"}
    return k8s.apps.v1.Deployment(
        "web",
        metadata={"annotations": annotations or {}} | ({"name": name} if name else {}),
        spec={
            "replicas": replicas,
            "selector": {"match_labels": labels},
            "template": pods(labels, **pod_annotations),
        },
        opts=options,
    )


def test_a_stack_comes_up_stays_the_same_and_goes_away(stack, plane):
    def run(options):
        namespace = k8s.core.v1.Namespace("shop", opts=options)
        labels = {"app": "web"}
        place = {"namespace": namespace.metadata.name}
        k8s.core.v1.ConfigMap("settings", metadata=place, data={"a": "1"}, opts=options)
        deployment = k8s.apps.v1.Deployment(
            "web",
            metadata=place,
            spec={"replicas": 2, "selector": {"match_labels": labels}, "template": pods(labels)},
            opts=options,
        )
        service = k8s.core.v1.Service(
            "web",
            metadata=place,
            spec={"selector": labels, "ports": [{"port": 80}]},
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(depends_on=[deployment])),
        )
        pulumi.export("available", deployment.status.available_replicas)
        pulumi.export("address", service.spec.cluster_ip)

    stack.program(run)
    assert stack.preview().change_summary == {"create": 6}
    result = stack.stack.up()
    assert result.summary.resource_changes == {"create": 6}
    assert result.outputs["available"].value == 2
    assert result.outputs["address"].value.startswith("10.96.")
    assert stack.preview().change_summary == {"same": 6}
    assert stack.up() == {"same": 6}
    assert stack.stack.refresh().summary.resource_changes == {"same": 6}
    assert stack.up() == {"same": 6}
    assert stack.stack.destroy().summary.resource_changes == {"delete": 6}
    assert "shop" not in kubectl(plane, "get", "ns", "-o", "name")


def test_a_preview_shows_exactly_what_the_program_changed(stack):
    stack.program(lambda options: web(options, 2))
    stack.up()
    stack.program(lambda options: web(options, 3))
    preview = stack.preview()
    assert preview.change_summary == {"same": 2, "update": 1}
    assert "replicas: 2 => 3" in preview.stdout
    assert stack.up() == {"same": 2, "update": 1}


def test_drift_is_found_by_refresh_and_put_right_by_the_next_update(stack, plane):
    def run(options):
        k8s.core.v1.ConfigMap(
            "c",
            metadata={"name": "drifting", "annotations": {"pulumi.com/patchForce": "true"}},
            data={"a": "1"},
            opts=options,
        )

    stack.program(run)
    stack.up()
    kubectl(
        plane, "patch", "cm", "drifting", "-p", '{"metadata":{"annotations":{"pulumi.com/patchForce":"no"}}}'
    )
    assert stack.stack.refresh().summary.resource_changes == {"same": 2, "update": 1}
    assert stack.up() == {"same": 2, "update": 1}
    assert stack.up() == {"same": 3}
    kubectl(plane, "delete", "cm", "drifting")
    assert stack.stack.refresh().summary.resource_changes == {"same": 2, "delete": 1}
    assert stack.up() == {"same": 2, "create": 1}


def test_a_named_object_is_deleted_before_its_replacement(stack, plane):
    stack.program(lambda options: web(options, name="named"))
    stack.up()
    first = kubectl(plane, "get", "deployment", "named", "-o", "jsonpath={.metadata.uid}")
    stack.program(lambda options: web(options, name="named", labels={"app": "other"}))
    preview = stack.preview()
    assert preview.change_summary == {"same": 2, "replace": 1}
    assert stack.up() == {"same": 2, "replace": 1}
    assert kubectl(plane, "get", "deployment", "named", "-o", "jsonpath={.metadata.uid}") != first


def test_an_autonamed_object_is_replaced_before_it_is_deleted(stack, plane):
    stack.program(web)
    stack.up()
    first = kubectl(plane, "get", "deployment", "-o", "name")
    stack.program(lambda options: web(options, labels={"app": "other"}))
    assert stack.up() == {"same": 2, "replace": 1}
    assert kubectl(plane, "get", "deployment", "-o", "name") not in {"", first}


def test_a_definition_and_its_resource_come_in_one_run(stack):
    def run(options):
        schema = {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
        k8s.apiextensions.v1.CustomResourceDefinition(
            "crd",
            metadata={"name": "gadgets.example.com"},
            spec={
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"plural": "gadgets", "kind": "Gadget"},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": schema}}
                ],
            },
            opts=options,
        )
        k8s.apiextensions.CustomResource(
            "gadget",
            api_version="example.com/v1",
            kind="Gadget",
            spec={"camelCase": {"a_b": 1}},
            opts=options,
        )

    stack.program(run)
    assert stack.preview().change_summary == {"create": 4}
    assert stack.up() == {"create": 4}
    assert stack.preview().change_summary == {"same": 4}
    assert stack.stack.refresh().summary.resource_changes == {"same": 4}


def test_a_cluster_that_is_not_known_yet_previews_its_resources(stack, plane):
    def run(options):
        holder = k8s.core.v1.Secret("holder", string_data={"kubeconfig": plane.kubeconfig}, opts=options)
        later = k8s.Provider("later", kubeconfig=holder.metadata.uid.apply(lambda _uid: plane.kubeconfig))
        k8s.core.v1.ConfigMap("on-it", data={"a": "1"}, opts=pulumi.ResourceOptions(provider=later))

    stack.program(run)
    assert stack.preview().change_summary == {"create": 5}
    assert stack.up() == {"create": 5}
    assert stack.preview().change_summary == {"same": 5}


def test_secrets_are_encrypted_in_the_state(stack):
    def run(options):
        k8s.core.v1.Secret("s", string_data={"p": TEXT}, opts=options)
        environment = [{"name": "P", "value": pulumi.Output.secret(TEXT)}]
        template = pods({"app": "s"})
        template["spec"]["containers"][0]["env"] = environment
        k8s.apps.v1.Deployment(
            "d", spec={"selector": {"match_labels": {"app": "s"}}, "template": template}, opts=options
        )

    stack.program(run)
    result = stack.stack.up()
    assert TEXT not in result.stdout
    assert TEXT not in stack.state()
    assert "aHVudGVyMi1hbmQtbW9yZQ==" not in stack.state()
    assert stack.up() == {"same": 4}


def test_what_did_not_become_ready_is_kept_and_mended_by_the_next_update(stack):
    short = {"pulumi.com/timeoutSeconds": "2"}
    stack.program(lambda options: web(options, 2, None, None, short, **{"lab.surge.dev/broken": "true"}))
    with pytest.raises(automation.CommandError) as raised:
        stack.up()
    assert "ImagePullBackOff: no such image" in str(raised.value)
    stack.program(lambda options: web(options, 2, None, None, short))
    assert stack.up() == {"same": 2, "update": 1}
    assert stack.up() == {"same": 3}


def test_an_object_of_the_cluster_is_imported(stack, plane):
    kubectl(plane, "create", "cm", "adopted", "--from-literal=a=1")

    def run(options):
        k8s.core.v1.ConfigMap(
            "c",
            metadata={"name": "adopted", "namespace": "default"},
            data={"a": "1"},
            opts=pulumi.ResourceOptions.merge(options, pulumi.ResourceOptions(import_="default/adopted")),
        )

    stack.program(run)
    assert stack.up() == {"create": 2, "import": 1}
    assert stack.up() == {"same": 3}


def test_an_object_is_read_by_its_identifier(stack, plane):
    def run(options):
        found = k8s.core.v1.Namespace.get("found", "kube-system", opts=options)
        pulumi.export("phase", found.status.phase)

    stack.program(run)
    assert stack.stack.up().outputs["phase"].value == "Active"


def test_ignored_changes_leave_the_replicas_to_the_autoscaler(stack, plane):
    ignoring = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
    stack.program(lambda options: web(pulumi.ResourceOptions.merge(options, ignoring), 1, name="scaled"))
    stack.up()
    kubectl(plane, "scale", "deployment", "scaled", "--replicas=3")
    stack.stack.refresh()
    annotations = {"new": "one"}
    stack.program(
        lambda options: web(pulumi.ResourceOptions.merge(options, ignoring), 1, "scaled", None, annotations)
    )
    assert stack.up() == {"same": 2, "update": 1}
    assert kubectl(plane, "get", "deployment", "scaled", "-o", "jsonpath={.spec.replicas}") == "3"


def test_a_killed_update_that_had_saved_nothing_is_gone_on_with(stack, plane):
    """As for a shard: its state is saved at the end, and its objects are found again by their names."""
    ours = {"pulumi.com/patchFieldManager": "surge"}

    def program(labels, *, stuck):
        provider = k8s.Provider("adopting", kubeconfig=plane.kubeconfig, upsert_existing_objects=True)
        options = pulumi.ResourceOptions(provider=provider)
        for number in range(5):
            metadata = {"name": f"kept-{number}", "annotations": ours, "labels": labels}
            k8s.core.v1.ConfigMap(f"kept-{number}", metadata=metadata, opts=options)
        if stuck:
            k8s.core.v1.PersistentVolumeClaim(
                "stuck",
                metadata={"name": "stuck", "annotations": ours},
                spec={"access_modes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                opts=options,
            )

    stack.stack.workspace.env_vars["PULUMI_SKIP_CHECKPOINTS"] = "true"
    stack.program(lambda _: program({"a": "1", "b": "2"}, stuck=True))
    update = Thread(target=in_vain, args=(stack,))
    update.start()
    wait_for(lambda: "stuck" in kubectl(plane, "get", "pvc,configmap", "-o", "name"))
    wait_for(lambda: kubectl(plane, "get", "configmap", "-o", "name").count("kept-") == 5)
    [engine] = [pid for pid in children() if b"\0up\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(engine, signal.SIGKILL)
    update.join()
    stack.stack.cancel()
    assert "kept-0" not in stack.state()

    stack.program(lambda _: program({"a": "1", "b": "2"}, stuck=False))
    assert stack.up()["create"] == 8
    stack.program(lambda _: program({"a": "1"}, stuck=False))
    assert stack.up()["update"] == 5
    # Had the killed update left a manager of its own, "b" would still be its.
    assert kubectl(plane, "get", "configmap", "kept-0", "-o", "jsonpath={.metadata.labels}") == '{"a":"1"}'
    kubectl(plane, "delete", "pvc", "stuck", "--wait=false")


def in_vain(stack):
    with pytest.raises(automation.CommandError):
        stack.up()


def children():
    """Process ids."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(stat.parent.name)


def wait_for(check):
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_two_hundred_objects_come_up_and_stay_the_same(stack):
    def run(options):
        for number in range(200):
            k8s.core.v1.ConfigMap(f"c{number}", data={"number": str(number)}, opts=options)

    stack.program(run)
    assert stack.up() == {"create": 202}
    assert stack.up() == {"same": 202}


def many_kinds(options):
    """Objects whose fields the server fills in, or writes differently than the program did."""
    labels, template = {"a": "b"}, pods({"a": "b"})
    template["spec"]["volumes"] = [{"name": "e", "empty_dir": {}}]
    job = {"template": {"spec": {"restart_policy": "Never", "containers": [{"name": "c", "image": "x"}]}}}
    claim = {"access_modes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
    target = {"api_version": "apps/v1", "kind": "Deployment", "name": "x"}
    k8s.apps.v1.StatefulSet(
        "set",
        spec={
            "replicas": 0,
            "service_name": "s",
            "selector": {"match_labels": labels},
            "template": template,
            "volume_claim_templates": [{"metadata": {"name": "d"}, "spec": claim}],
        },
        opts=options,
    )
    k8s.autoscaling.v2.HorizontalPodAutoscaler(
        "scaler", spec={"max_replicas": 3, "scale_target_ref": target}, opts=options
    )
    k8s.policy.v1.PodDisruptionBudget(
        "budget", spec={"min_available": "50%", "selector": {"match_labels": labels}}, opts=options
    )
    k8s.networking.v1.NetworkPolicy(
        "policy",
        spec={"pod_selector": {}, "ingress": [{"from_": [{"ip_block": {"cidr": "10.0.0.0/8"}}]}]},
        opts=options,
    )
    k8s.core.v1.ServiceAccount("account", opts=options)
    k8s.core.v1.ResourceQuota("quota", spec={"hard": {"memory": "4096Mi", "cpu": "4000m"}}, opts=options)
    k8s.batch.v1.CronJob(
        "cron", spec={"schedule": "0 0 * * *", "suspend": True, "job_template": {"spec": job}}, opts=options
    )
    k8s.scheduling.v1.PriorityClass("priority", value=10, opts=options)
    k8s.core.v1.Service(
        "port", spec={"type": "NodePort", "ports": [{"port": 80, "target_port": "http"}]}, opts=options
    )
    k8s.rbac.v1.ClusterRole(
        "role", rules=[{"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}], opts=options
    )


def test_no_kind_shows_a_change_that_nobody_made(stack):
    stack.program(many_kinds)
    assert stack.up() == {"create": 12}
    assert stack.preview().change_summary == {"same": 12}
    assert stack.stack.refresh().summary.resource_changes == {"same": 12}
    assert stack.preview().change_summary == {"same": 12}
    assert stack.up() == {"same": 12}
