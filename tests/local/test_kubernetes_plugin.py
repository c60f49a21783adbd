"""The bundled kubernetes plugin, asked over gRPC as the engine asks, on a real API server."""

import json
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from lab.control_plane import scratch_control_plane
from toolchain.engine.kubernetes.wire import UNKNOWN, Secret, decode, encode, reveal

pytestmark = pytest.mark.local

ROOT = Path(__file__).parent.parent.parent
EXECUTABLE = ROOT / "toolchain" / "engine" / "bin" / "pulumi-resource-kubernetes"
BASE_PORT = 23200

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
NAMESPACE = "kubernetes:core/v1:Namespace"
SERVICE = "kubernetes:core/v1:Service"
POD = "kubernetes:core/v1:Pod"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
NODE = "kubernetes:core/v1:Node"
DIFF = provider_pb2.DiffResponse


class Engine(engine_pb2_grpc.EngineServicer):
    def __init__(self):
        self.messages: list[str] = []

    def Log(self, request, context):  # noqa: N802 (the service's name)
        self.messages.append(request.message)
        return empty_pb2.Empty()


class Plugin:
    """The plugin's process and its calls, with plain values in and out."""

    def __init__(self, **config):
        self.engine = Engine()
        self.server = grpc.server(ThreadPoolExecutor(8))
        engine_pb2_grpc.add_EngineServicer_to_server(self.engine, self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.process = subprocess.Popen([EXECUTABLE, f"127.0.0.1:{port}"], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        address = f"127.0.0.1:{int(self.process.stdout.readline())}"
        self._channel = grpc.insecure_channel(address)
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self.stub.Configure(
            provider_pb2.ConfigureRequest(args=encode(config), acceptSecrets=True, acceptResources=True)
        )

    def close(self):
        self._channel.close()
        self.server.stop(None)
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def check(self, token, name, properties, olds=None):
        request = provider_pb2.CheckRequest(
            urn=urn(token, name), news=encode(properties), olds=encode(olds or {}), randomSeed=b"seed" * 8
        )
        return decode(self.stub.Check(request).inputs)

    def create(self, token, inputs, *, timeout=0, preview=False):
        request = provider_pb2.CreateRequest(
            urn=urn(token, "x"), properties=encode(inputs), timeout=timeout, preview=preview
        )
        answer = self.stub.Create(request)
        return answer.id, decode(answer.properties)

    def make(self, token, name, properties, **how):
        """check and create: (id, inputs, outputs)."""
        inputs = self.check(token, name, properties)
        identifier, outputs = self.create(token, inputs, **how)
        return identifier, inputs, outputs

    def diff(self, token, state, inputs, ignore=()):
        return self.stub.Diff(
            provider_pb2.DiffRequest(
                urn=urn(token, "x"), olds=encode(state), news=encode(inputs), ignoreChanges=ignore
            )
        )

    def update(self, token, state, inputs, *, timeout=0, preview=False, ignore=()):
        request = provider_pb2.UpdateRequest(
            urn=urn(token, "x"),
            olds=encode(state),
            news=encode(inputs),
            timeout=timeout,
            preview=preview,
            ignoreChanges=ignore,
        )
        return decode(self.stub.Update(request).properties)

    def read(self, token, identifier, state=None, inputs=None):
        request = provider_pb2.ReadRequest(
            urn=urn(token, "x"), id=identifier, properties=encode(state or {}), inputs=encode(inputs or {})
        )
        answer = self.stub.Read(request)
        return answer.id, decode(answer.properties), decode(answer.inputs)

    def delete(self, token, identifier, state, *, timeout=0):
        self.stub.Delete(
            provider_pb2.DeleteRequest(
                urn=urn(token, "x"), id=identifier, properties=encode(state), timeout=timeout
            )
        )


def urn(token, name):
    return f"urn:pulumi:dev::project::{token}::{name}"


def refusal(call):
    """The one line of a call's error."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    text = raised.value.details()
    assert "\n" not in text
    return text


def partial(call):
    """(id, state, reasons) that a failed call hands back for keeping."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    trailers = dict(raised.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    status.details[0].Unpack(detail)
    return detail.id, decode(detail.properties), list(detail.reasons)


def deployment(replicas=1, *, labels=None, annotations=None, pod_annotations=None, **spec):
    labels = labels or {"app": "web"}
    return {
        "metadata": {"annotations": annotations or {}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": pod_annotations or {}},
                "spec": {
                    "containers": [{"name": "c", "image": "web:1", "resources": {"limits": {"cpu": "1000m"}}}]
                },
            },
            **spec,
        },
    }


def definition(plural="things", kind="Thing", scope="Namespaced"):
    schema = {"type": "object", "x_kubernetes_preserve_unknown_fields": True}
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


@pytest.fixture(scope="module")
def plane():
    with scratch_control_plane(BASE_PORT, workloads=True) as plane:
        yield plane


@pytest.fixture(scope="module")
def plugin(plane):
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        plugin.make(
            NODE, "node", {"metadata": {"name": "node", "annotations": {"kwok.x-k8s.io/node": "fake"}}}
        )
        yield plugin


@pytest.fixture
def namespace(plugin, request):
    name = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0][:60].strip("-")
    plugin.make(NAMESPACE, "ns", {"metadata": {"name": name}})
    return name


def kubectl(plane, *arguments, stdin=None):
    command = [ROOT / ".tools/bin/kubectl", "--kubeconfig", plane.kubeconfig_path, *arguments]
    return subprocess.run(command, input=stdin, text=True, check=True, capture_output=True).stdout


def in_namespace(namespace, properties, **metadata):
    return {**properties, "metadata": {**properties.get("metadata", {}), "namespace": namespace, **metadata}}


def test_the_plugin_reports_the_version_of_the_sdk(plugin):
    assert plugin.stub.GetPluginInfo(empty_pb2.Empty()).version == version("pulumi-kubernetes")


def test_an_object_is_created_compared_changed_read_and_deleted(plugin, plane, namespace):
    identifier, inputs, state = plugin.make(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": "1"}}))
    assert identifier == f"{namespace}/{inputs['metadata']['name']}"
    assert state["metadata"]["uid"]
    assert "managedFields" not in state["metadata"]
    assert state["__fieldManager"].startswith("pulumi-kubernetes-")
    assert plugin.diff(CONFIG_MAP, state, inputs).changes == DIFF.DIFF_NONE

    changed = plugin.check(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"b": "2"}}), olds=inputs)
    assert changed["metadata"]["name"] == inputs["metadata"]["name"]
    plan = plugin.diff(CONFIG_MAP, state, changed)
    assert set(plan.detailedDiff) == {"data.a", "data.b"}
    state = plugin.update(CONFIG_MAP, state, changed)
    assert state["data"] == {"b": "2"}

    assert plugin.read(CONFIG_MAP, identifier, state, changed)[2] == changed
    plugin.delete(CONFIG_MAP, identifier, state)
    assert plugin.read(CONFIG_MAP, identifier, state, changed)[0] == ""
    assert "No resources" not in kubectl(plane, "get", "ns", namespace)


def test_an_unnamed_object_is_named_after_its_resource_and_marked(plugin, namespace):
    inputs = plugin.check(CONFIG_MAP, "web", in_namespace(namespace, {}))
    stem, _, digits = inputs["metadata"]["name"].rpartition("-")
    assert (stem, len(digits)) == ("web", 8)
    assert inputs["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}


def test_a_namespace_is_filled_in_only_for_kinds_that_live_in_one(plane, plugin):
    assert plugin.check(CONFIG_MAP, "a", {})["metadata"]["namespace"] == "default"
    assert "namespace" not in plugin.check(NAMESPACE, "a", {})["metadata"]
    with Plugin(kubeconfig=plane.kubeconfig, namespace="mine") as other:
        assert other.check(CONFIG_MAP, "a", {})["metadata"]["namespace"] == "mine"


def test_the_kubeconfig_may_be_a_path(plane):
    with Plugin(kubeconfig=str(plane.kubeconfig_path)) as other:
        assert other.check(CONFIG_MAP, "a", {})["metadata"]["namespace"] == "default"


def test_a_preview_shows_what_the_server_would_make_and_makes_nothing(plugin, plane, namespace):
    inputs = plugin.check(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    identifier, shown = plugin.create(DEPLOYMENT, inputs, preview=True)
    assert identifier == ""
    assert shown["spec"]["progressDeadlineSeconds"] == 600
    assert shown["metadata"]["uid"] is UNKNOWN
    assert "status" not in shown
    assert kubectl(plane, "get", "deployment", "-n", namespace, "-o", "name") == ""


def test_a_preview_refuses_what_the_server_would_refuse(plugin, namespace):
    wrong = in_namespace(namespace, deployment(labels={"a": "b"}))
    wrong["spec"]["template"]["metadata"]["labels"] = {"a": "c"}
    inputs = plugin.check(DEPLOYMENT, "web", wrong)
    assert "selector" in refusal(lambda: plugin.create(DEPLOYMENT, inputs, preview=True))


def test_a_preview_of_unknown_inputs_gives_them_back(plugin, namespace):
    inputs = plugin.check(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": UNKNOWN}}))
    assert plugin.create(CONFIG_MAP, inputs, preview=True)[1] == inputs


def test_a_preview_into_a_namespace_of_the_same_update_gives_the_inputs(plugin):
    inputs = plugin.check(CONFIG_MAP, "web", in_namespace("not-there-yet", {}))
    assert plugin.create(CONFIG_MAP, inputs, preview=True)[1] == inputs


def test_a_preview_of_an_update_changes_nothing(plugin, plane, namespace):
    identifier, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    changed = {**inputs, "spec": {**inputs["spec"], "replicas": 2}}
    shown = plugin.update(DEPLOYMENT, state, changed, preview=True)
    assert shown["spec"]["replicas"] == 2
    assert plugin.read(DEPLOYMENT, identifier, state, inputs)[1]["spec"]["replicas"] == 1


def test_server_defaults_and_rewritten_quantities_never_show_as_a_change(plugin, namespace):
    identifier, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    assert state["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1"}
    _, state, read = plugin.read(DEPLOYMENT, identifier, state, inputs)
    assert read == inputs
    assert plugin.diff(DEPLOYMENT, state, inputs).changes == DIFF.DIFF_NONE


def test_drift_shows_after_a_refresh_and_is_put_right(plugin, plane, namespace):
    identifier, inputs, state = plugin.make(
        CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": "1", "b": "1"}})
    )
    name = inputs["metadata"]["name"]
    patch = json.dumps({"data": {"a": "by hand", "b": None, "c": "theirs"}})
    kubectl(plane, "patch", "cm", "-n", namespace, name, "--type=merge", "-p", patch)
    _, state, read = plugin.read(CONFIG_MAP, identifier, state, inputs)
    assert read["data"] == {"a": "by hand"}
    assert set(plugin.diff(CONFIG_MAP, state, inputs).detailedDiff) == {"data.a", "data.b"}
    forced = plugin.check(
        CONFIG_MAP,
        "web",
        {**inputs, "metadata": {**inputs["metadata"], "annotations": {"pulumi.com/patchForce": "true"}}},
        olds=inputs,
    )
    assert plugin.update(CONFIG_MAP, state, forced)["data"] == {"a": "1", "b": "1", "c": "theirs"}


def test_an_immutable_field_replaces_and_a_given_name_is_deleted_first(plugin, namespace):
    _, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    other = plugin.check(
        DEPLOYMENT, "web", in_namespace(namespace, deployment(labels={"app": "new"})), olds=inputs
    )
    plan = plugin.diff(DEPLOYMENT, state, other)
    assert list(plan.replaces) == ["spec.selector.matchLabels.app"]
    assert not plan.deleteBeforeReplace

    _, inputs, state = plugin.make(DEPLOYMENT, "b", in_namespace(namespace, deployment(), name="named"))
    other = plugin.check(
        DEPLOYMENT, "b", in_namespace(namespace, deployment(labels={"app": "new"}), name="named"), olds=inputs
    )
    assert plugin.diff(DEPLOYMENT, state, other).deleteBeforeReplace
    renamed = plugin.check(DEPLOYMENT, "b", in_namespace(namespace, deployment(), name="other"), olds=inputs)
    plan = plugin.diff(DEPLOYMENT, state, renamed)
    assert list(plan.replaces) == ["metadata.name"]
    assert not plan.deleteBeforeReplace


def test_an_existing_object_is_not_overwritten_unless_the_provider_says_so(plugin, plane, namespace):
    kubectl(plane, "create", "cm", "-n", namespace, "theirs", "--from-literal=a=theirs")
    inputs = plugin.check(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"b": "1"}}, name="theirs"))
    text = refusal(lambda: plugin.create(CONFIG_MAP, inputs))
    assert "AlreadyExists" in text
    assert f"import_='{namespace}/theirs'" in text
    assert plugin.create(CONFIG_MAP, inputs, preview=True)[1] == inputs
    with Plugin(kubeconfig=plane.kubeconfig, upsertExistingObjects=True) as upserting:
        assert upserting.create(CONFIG_MAP, inputs)[1]["data"] == {"a": "theirs", "b": "1"}


def test_a_conflict_names_the_manager_the_field_and_the_remedy(plugin, plane, namespace):
    identifier, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    name = inputs["metadata"]["name"]
    kubectl(plane, "patch", "deployment", "-n", namespace, name, "-p", '{"spec":{"replicas":3}}')
    changed = {**inputs, "spec": {**inputs["spec"], "replicas": 2}}
    text = refusal(lambda: plugin.update(DEPLOYMENT, state, changed))
    assert '"kubectl-patch" manages .spec.replicas' in text
    assert "pulumi.com/patchForce" in text

    annotations = inputs["metadata"]["annotations"] | {"pulumi.com/patchForce": "true"}
    forced = {**changed, "metadata": {**inputs["metadata"], "annotations": annotations}}
    assert plugin.update(DEPLOYMENT, state, forced)["spec"]["replicas"] == 2
    assert identifier


def test_ignored_changes_stay_with_their_other_manager(plugin, plane, namespace):
    _, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    name = inputs["metadata"]["name"]
    kubectl(plane, "scale", "deployment", "-n", namespace, name, "--replicas=3")
    labelled = {**inputs, "metadata": {**inputs["metadata"], "labels": {"new": "label"}}}
    state = plugin.update(DEPLOYMENT, state, labelled, ignore=["spec.replicas"])
    assert state["spec"]["replicas"] == 3
    assert state["metadata"]["labels"] == {"new": "label"}
    other = {**labelled, "spec": {**inputs["spec"], "replicas": 7}}
    assert plugin.diff(DEPLOYMENT, state, other, ignore=["spec.replicas"]).changes == DIFF.DIFF_NONE


def test_an_admission_refusal_is_one_line_already_at_preview(plugin, namespace):
    policy = {
        "metadata": {"name": "no-forbidden"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["configmaps"],
                    }
                ]
            },
            "validations": [
                {
                    "expression": "!has(object.data) || !('forbidden' in object.data)",
                    "message": "not that key",
                }
            ],
        },
    }
    kind = "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy"
    plugin.make(kind, "policy", policy)
    binding = {
        "metadata": {"name": "no-forbidden"},
        "spec": {"policyName": "no-forbidden", "validationActions": ["Deny"]},
    }
    plugin.make(f"{kind}Binding", "binding", binding)
    inputs = plugin.check(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"forbidden": "x"}}))
    deadline = time.monotonic() + 30  # a policy takes effect a little later
    while time.monotonic() < deadline:
        try:
            plugin.create(CONFIG_MAP, inputs, preview=True)
        except grpc.RpcError:
            break
        time.sleep(0.2)
    assert "not that key" in refusal(lambda: plugin.create(CONFIG_MAP, inputs, preview=True))
    assert "not that key" in refusal(lambda: plugin.create(CONFIG_MAP, inputs))


def test_a_custom_resource_waits_for_its_definition_in_the_same_run(plugin, namespace):
    token = "kubernetes:example.com/v1:Thing"
    inputs = plugin.check(
        token,
        "thing",
        in_namespace(namespace, {"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"a": 1}}),
    )
    assert plugin.create(token, inputs, preview=True)[1] == inputs
    with ThreadPoolExecutor() as pool:
        thing = pool.submit(plugin.create, token, inputs)
        identifier, crd_inputs, crd = plugin.make(DEFINITION, "crd", definition())
        assert thing.result()[1]["spec"] == {"a": 1}
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert (
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x_kubernetes_preserve_unknown_fields"]
        is True
    )
    assert plugin.read(DEFINITION, identifier, crd, crd_inputs)[2] == crd_inputs
    plugin.delete(DEFINITION, identifier, crd)
    assert plugin.read(token, thing.result()[0], thing.result()[1], inputs)[0] == ""
    plugin.delete(token, *thing.result())


def test_a_cluster_wide_custom_resource_gets_no_namespace(plugin):
    token = "kubernetes:example.com/v1:Wide"
    inputs = plugin.check(token, "wide", {"apiVersion": "example.com/v1", "kind": "Wide"})
    identifier, _, crd = plugin.make(DEFINITION, "crd", definition("wides", "Wide", "Cluster"))
    made, state = plugin.create(token, inputs)
    assert "/" not in made
    assert "namespace" not in state["__inputs"]["metadata"]
    assert plugin.diff(token, state, inputs).changes == DIFF.DIFF_NONE
    plugin.delete(DEFINITION, identifier, crd)


def test_a_kind_that_nobody_serves_is_named(plugin):
    inputs = plugin.check("kubernetes:apps/v9:Deployment", "web", deployment() | {"apiVersion": "apps/v9"})
    text = refusal(lambda: plugin.create("kubernetes:apps/v9:Deployment", inputs))
    assert "does not serve apps/v9 Deployment" in text


def test_a_deployment_is_awaited_to_its_last_replica(plugin, namespace):
    _, inputs, state = plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment(3)))
    assert state["status"]["availableReplicas"] == 3
    changed = json.loads(json.dumps(inputs))
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    state = plugin.update(DEPLOYMENT, state, changed)
    assert (state["status"]["updatedReplicas"], state["status"]["replicas"]) == (3, 3)


BROKEN = {"lab.surge.dev/broken": "true"}


def test_a_deployment_that_does_not_start_says_why_and_is_kept(plugin, namespace):
    inputs = plugin.check(DEPLOYMENT, "web", in_namespace(namespace, deployment(2, pod_annotations=BROKEN)))
    identifier, state, reasons = partial(lambda: plugin.create(DEPLOYMENT, inputs, timeout=2))
    assert identifier.startswith(f"{namespace}/web-")
    assert state["__inputs"] == inputs
    assert "not done after 2 s: 0 of 2 replicas available" in reasons[0]
    assert "ImagePullBackOff: no such image (2 pods)" in "; ".join(reasons)
    mended = json.loads(json.dumps(inputs))
    mended["spec"]["template"]["metadata"]["annotations"] = {}
    assert plugin.update(DEPLOYMENT, state, mended)["status"]["availableReplicas"] == 2


def test_a_rollout_past_its_deadline_fails_at_once(plugin, namespace):
    stuck = in_namespace(namespace, deployment(pod_annotations=BROKEN, progressDeadlineSeconds=1))
    inputs = plugin.check(DEPLOYMENT, "web", stuck)
    _, _, reasons = partial(lambda: plugin.create(DEPLOYMENT, inputs))
    assert "rollout made no progress" in reasons[0]


def test_waiting_can_be_skipped_and_bounded_by_annotation(plugin, namespace):
    skipped = deployment(annotations={"pulumi.com/skipAwait": "true"}, pod_annotations=BROKEN)
    assert plugin.make(DEPLOYMENT, "a", in_namespace(namespace, skipped))[0]
    bounded = deployment(annotations={"pulumi.com/timeoutSeconds": "1"}, pod_annotations=BROKEN)
    inputs = plugin.check(DEPLOYMENT, "b", in_namespace(namespace, bounded))
    assert "not done after 1 s" in partial(lambda: plugin.create(DEPLOYMENT, inputs))[2][0]


def test_wait_for_asks_for_what_the_program_needs(plugin, plane, namespace):
    annotations = {"pulumi.com/waitFor": "jsonpath={.data.ready}=yes"}
    inputs = plugin.check(
        CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": "1"}}, name="web", annotations=annotations)
    )
    with ThreadPoolExecutor() as pool:
        made = pool.submit(plugin.create, CONFIG_MAP, inputs)
        while not any("not yes" in message for message in plugin.engine.messages):
            time.sleep(0.05)
        kubectl(plane, "patch", "cm", "-n", namespace, "web", "-p", '{"data":{"ready":"yes"}}')
        assert made.result()[1]["data"]["ready"] == "yes"


def test_every_kind_of_workload_is_awaited(plugin, namespace):
    template = deployment()["spec"]["template"]
    selector = {"matchLabels": {"app": "web"}}
    job_pod = {"spec": {**template["spec"], "restartPolicy": "Never"}}
    workloads = {
        "kubernetes:apps/v1:StatefulSet": {
            "replicas": 2,
            "serviceName": "s",
            "selector": selector,
            "template": template,
        },
        "kubernetes:apps/v1:DaemonSet": {"selector": selector, "template": template},
        "kubernetes:batch/v1:Job": {"completions": 2, "parallelism": 2, "template": job_pod},
        POD: template["spec"],
    }
    made = {
        token: plugin.make(token, "w", in_namespace(namespace, {"spec": spec}))[2]
        for token, spec in workloads.items()
    }
    statuses = {token.rpartition(":")[2]: state["status"] for token, state in made.items()}
    assert statuses["StatefulSet"]["readyReplicas"] == 2
    assert statuses["DaemonSet"]["numberAvailable"] == 1
    assert statuses["Job"]["succeeded"] == 2
    assert statuses["Pod"]["phase"] == "Running"


def test_a_job_that_fails_is_reported_with_its_reason(plugin, namespace):
    broken = {
        "metadata": {"annotations": BROKEN},
        "spec": {**deployment()["spec"]["template"]["spec"], "restartPolicy": "Never"},
    }
    spec = {"activeDeadlineSeconds": 1, "template": broken}
    inputs = plugin.check("kubernetes:batch/v1:Job", "w", in_namespace(namespace, {"spec": spec}))
    reasons = partial(lambda: plugin.create("kubernetes:batch/v1:Job", inputs))[2]
    assert "job failed: DeadlineExceeded" in reasons[0]


def test_services_wait_for_pods_only_where_they_select_some(plugin, namespace):
    ports = [{"port": 80}]
    plugin.make(
        SERVICE,
        "external",
        in_namespace(namespace, {"spec": {"type": "ExternalName", "externalName": "localhost"}}),
    )
    plugin.make(
        SERVICE,
        "headless",
        in_namespace(namespace, {"spec": {"clusterIP": "None", "selector": {"no": "pod"}, "ports": ports}}),
    )
    inputs = plugin.check(
        SERVICE, "none", in_namespace(namespace, {"spec": {"selector": {"no": "pod"}, "ports": ports}})
    )
    assert "matches no ready pod yet" in partial(lambda: plugin.create(SERVICE, inputs, timeout=1))[2][0]
    plugin.make(DEPLOYMENT, "web", in_namespace(namespace, deployment()))
    plugin.make(
        SERVICE, "web", in_namespace(namespace, {"spec": {"selector": {"app": "web"}, "ports": ports}})
    )
    balanced = in_namespace(namespace, {"spec": {"type": "LoadBalancer", "ports": ports}})
    inputs = plugin.check(SERVICE, "balanced", balanced)
    assert "no load balancer address yet" in partial(lambda: plugin.create(SERVICE, inputs, timeout=1))[2][0]


def test_a_claim_is_awaited_unless_it_waits_for_its_consumer(plugin, namespace):
    for name, mode in (("now", "Immediate"), ("late", "WaitForFirstConsumer")):
        storage = {"metadata": {"name": name}, "provisioner": "nobody.example.com", "volumeBindingMode": mode}
        plugin.make("kubernetes:storage.k8s.io/v1:StorageClass", name, storage)
    token = "kubernetes:core/v1:PersistentVolumeClaim"

    def claim(storage):
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        return plugin.check(token, storage, in_namespace(namespace, {"spec": spec}))

    plugin.create(token, claim("late"))
    assert "claim is Pending" in partial(lambda: plugin.create(token, claim("now"), timeout=1))[2][0]


def test_an_api_service_is_awaited_to_available(plugin, namespace):
    token = "kubernetes:apiregistration.k8s.io/v1:APIService"
    spec = {
        "group": "nobody.example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "none", "namespace": namespace},
    }
    inputs = plugin.check(token, "a", {"metadata": {"name": "v1.nobody.example.com"}, "spec": spec})
    identifier, state, reasons = partial(lambda: plugin.create(token, inputs, timeout=1))
    assert "condition Available is False (ServiceNotFound" in reasons[0]
    plugin.delete(token, identifier, state)


def test_a_namespace_is_gone_with_all_it_held_when_its_deletion_returns(plugin):
    identifier, _, state = plugin.make(NAMESPACE, "full", {})
    plugin.make(CONFIG_MAP, "a", in_namespace(identifier, {}))
    plugin.delete(NAMESPACE, identifier, state)
    assert plugin.read(NAMESPACE, identifier)[0] == ""


def test_a_deletion_that_is_held_names_the_finalizer_and_the_command(plugin, plane, namespace):
    identifier, _, state = plugin.make(
        CONFIG_MAP, "held", in_namespace(namespace, {}, name="held", finalizers=["example.com/hold"])
    )
    text = refusal(lambda: plugin.delete(CONFIG_MAP, identifier, state, timeout=1))
    assert "held by finalizer example.com/hold" in text
    assert f"kubectl patch configmap -n {namespace} held" in text
    kubectl(
        plane,
        "patch",
        "cm",
        "-n",
        namespace,
        "held",
        "--type=merge",
        "-p",
        '{"metadata":{"finalizers":null}}',
    )
    plugin.delete(CONFIG_MAP, identifier, state)


def test_dependents_go_with_their_owner_or_stay_as_the_annotation_says(plugin, plane, namespace):
    for name, annotations, left in (
        ("gone", {}, 0),
        ("kept", {"pulumi.com/deletionPropagationPolicy": "orphan"}, 1),
    ):
        labels = {"app": name}
        made = in_namespace(namespace, deployment(labels=labels, annotations=annotations))
        identifier, _, state = plugin.make(DEPLOYMENT, name, made)
        plugin.delete(DEPLOYMENT, identifier, state)
        found = kubectl(plane, "get", "rs", "-n", namespace, "-l", f"app={name}", "-o", "name")
        assert len(found.split()) == left


def test_deleting_what_is_gone_or_was_made_anew_succeeds_and_harms_nothing(plugin, plane, namespace):
    identifier, _, state = plugin.make(CONFIG_MAP, "web", in_namespace(namespace, {}, name="web"))
    kubectl(plane, "delete", "cm", "-n", namespace, "web")
    plugin.delete(CONFIG_MAP, identifier, state)
    kubectl(plane, "create", "cm", "-n", namespace, "web")
    plugin.delete(CONFIG_MAP, identifier, state)
    assert kubectl(plane, "get", "cm", "-n", namespace, "web", "-o", "name")


def test_updating_what_was_deleted_outside_asks_for_a_refresh(plugin, plane, namespace):
    _, inputs, state = plugin.make(CONFIG_MAP, "web", in_namespace(namespace, {}, name="web"))
    kubectl(plane, "delete", "cm", "-n", namespace, "web")
    changed = {**inputs, "data": {"a": "1"}}
    assert "pulumi refresh" in refusal(lambda: plugin.update(CONFIG_MAP, state, changed))


def test_a_secret_stays_secret_in_state_inputs_and_messages(plugin, namespace):
    text = "hunter2-and-more"
    identifier, inputs, state = plugin.make(
        SECRET, "s", in_namespace(namespace, {"stringData": Secret({"a": text})})
    )
    assert isinstance(state["data"], Secret)
    assert isinstance(state["__inputs"]["stringData"], Secret)
    assert isinstance(inputs["stringData"], Secret)
    read = plugin.read(SECRET, identifier, state, inputs)
    assert isinstance(read[1]["data"], Secret)
    assert read[2] == inputs

    env = [{"name": "PASSWORD", "value": Secret(text)}]
    secretive = in_namespace(namespace, deployment())
    secretive["spec"]["template"]["spec"]["containers"][0]["env"] = env
    state = plugin.make(DEPLOYMENT, "d", secretive)[2]
    assert text not in repr(state)
    assert text in repr(reveal(state))

    wrong = plugin.check(
        CONFIG_MAP, "c", in_namespace(namespace, {"data": {}}, labels={"l": Secret(f"{text} !")})
    )
    message = refusal(lambda: plugin.create(CONFIG_MAP, wrong))
    assert text not in message
    assert "[secret]" in message


def test_an_object_is_imported_by_namespace_and_name(plugin, plane, namespace):
    kubectl(plane, "create", "cm", "-n", namespace, "theirs", "--from-literal=a=1")
    identifier, state, inputs = plugin.read(CONFIG_MAP, f"{namespace}/theirs")
    assert identifier == f"{namespace}/theirs"
    assert inputs == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": namespace},
        "data": {"a": "1"},
    }
    assert plugin.diff(CONFIG_MAP, state, inputs).changes == DIFF.DIFF_NONE
    assert plugin.read(CONFIG_MAP, f"{namespace}/nobody")[0] == ""


def test_managed_fields_and_an_id_in_a_state_are_no_change(plugin, namespace):
    _, inputs, state = plugin.make(CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": "1"}}))
    wider = {**state, "metadata": {**state["metadata"], "managedFields": [{"manager": "x"}]}, "id": "x"}
    assert plugin.diff(CONFIG_MAP, wider, inputs).changes == DIFF.DIFF_NONE
    changed = plugin.update(CONFIG_MAP, wider, {**inputs, "data": {"a": "2"}})
    assert changed["__fieldManager"] == state["__fieldManager"]


def test_another_field_manager_takes_over_and_the_old_one_lets_go(plugin, plane, namespace):
    _, inputs, state = plugin.make(
        CONFIG_MAP, "web", in_namespace(namespace, {"data": {"a": "1"}}, name="web")
    )
    annotations = {"pulumi.com/patchFieldManager": "team"}
    renamed = {**inputs, "metadata": {**inputs["metadata"], "annotations": annotations}}
    assert plugin.update(CONFIG_MAP, state, renamed)["__fieldManager"] == "team"
    live = json.loads(
        kubectl(plane, "get", "cm", "-n", namespace, "web", "-o", "json", "--show-managed-fields")
    )
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["team"]


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("kubernetes:core/v1:ConfigMapList", "items one by one"),
        ("kubernetes:apps/v1:DeploymentPatch", "patch resources are not served"),
        ("kubernetes:helm.sh/v3:Release", "not served by the bundled kubernetes plugin yet"),
        ("kubernetes:yaml/v2:ConfigFile", "not served by the bundled kubernetes plugin yet"),
    ],
)
def test_what_is_not_served_is_refused_at_check(plugin, token, message):
    assert message in refusal(lambda: plugin.check(token, "x", {}))


def test_functions_and_components_are_refused(plugin):
    invoke = provider_pb2.InvokeRequest(tok="kubernetes:yaml:decode")
    assert "not served" in refusal(lambda: plugin.stub.Invoke(invoke))
    construct = provider_pb2.ConstructRequest(type="kubernetes:helm.sh/v4:Chart")
    assert "not served" in refusal(lambda: plugin.stub.Construct(construct))


def test_an_unreachable_cluster_is_one_clear_error_and_previews_go_on():
    nowhere = json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{BASE_PORT + 99}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
    )
    state = {
        "metadata": {"name": "a", "namespace": "default", "uid": "u"},
        "kind": "ConfigMap",
        "apiVersion": "v1",
    }
    with Plugin(kubeconfig=nowhere) as plugin:
        inputs = plugin.check(CONFIG_MAP, "a", {"data": {"a": "1"}})
        assert plugin.create(CONFIG_MAP, inputs, preview=True)[1] == inputs
        for call in (
            lambda: plugin.create(CONFIG_MAP, inputs),
            lambda: plugin.read(CONFIG_MAP, "default/a", state),
            lambda: plugin.delete(CONFIG_MAP, "default/a", state),
        ):
            text = refusal(call)
            assert "is unreachable" in text
            assert "Connection refused" in text
            assert "PULUMI_K8S_DELETE_UNREACHABLE" in text
    with Plugin(kubeconfig=nowhere, skipUpdateUnreachable=True) as plugin:
        assert plugin.read(CONFIG_MAP, "default/a", state, inputs) == ("default/a", state, inputs)
    with Plugin(kubeconfig=nowhere, deleteUnreachable=True) as plugin:
        plugin.delete(CONFIG_MAP, "default/a", state)
        assert plugin.read(CONFIG_MAP, "default/a", state)[0] == ""


def test_an_unknown_cluster_is_never_contacted_at_preview():
    with Plugin(kubeconfig=UNKNOWN) as plugin:
        inputs = plugin.check(CONFIG_MAP, "a", {"data": {"a": "1"}})
        assert inputs["metadata"]["name"].startswith("a-")
        assert plugin.create(CONFIG_MAP, inputs, preview=True)[1] == inputs


def test_cancel_ends_a_wait_at_once_and_keeps_the_object(plane, namespace):
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        inputs = plugin.check(DEPLOYMENT, "web", in_namespace(namespace, deployment(pod_annotations=BROKEN)))

        def cancel():
            while not plugin.engine.messages:
                time.sleep(0.05)
            plugin.stub.Cancel(empty_pb2.Empty())

        threading.Thread(target=cancel).start()
        identifier, state, reasons = partial(lambda: plugin.create(DEPLOYMENT, inputs))
    assert identifier.startswith(f"{namespace}/web-")
    assert state["__inputs"] == inputs
    assert "the wait was cancelled" in reasons[0]


def test_a_wait_outlives_a_restart_of_the_api_server(plane, namespace):
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        inputs = plugin.check(
            CONFIG_MAP,
            "web",
            in_namespace(
                namespace, {}, name="web", annotations={"pulumi.com/waitFor": "jsonpath={.data.ready}=yes"}
            ),
        )
        with ThreadPoolExecutor() as pool:
            made = pool.submit(plugin.create, CONFIG_MAP, inputs)
            while not plugin.engine.messages:
                time.sleep(0.05)
            plane.stop_apiserver()
            plane.start_apiserver()
            kubectl(plane, "patch", "cm", "-n", namespace, "web", "-p", '{"data":{"ready":"yes"}}')
            assert made.result()[1]["data"] == {"ready": "yes"}


def test_no_key_of_the_kubeconfig_is_left_in_a_file(plane, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        plugin.check(CONFIG_MAP, "a", {})
        assert list(tmp_path.iterdir()) == []


def test_the_plugin_ends_when_the_engine_closes_it(plane):
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        plugin.process.send_signal(signal.SIGINT)
        assert plugin.process.wait(30) == 0


def test_the_plugin_ends_with_its_engine(plane):
    with Plugin(kubeconfig=plane.kubeconfig) as plugin:
        plugin.server.stop(None)
        assert plugin.process.wait(30) == 0


def test_a_warning_of_the_api_server_reaches_the_user(plugin, namespace):
    plugin.make("kubernetes:core/v1:Endpoints", "old", in_namespace(namespace, {}))
    assert any("deprecated" in message for message in plugin.engine.messages)
