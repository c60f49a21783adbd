"""Plans between a wanted and a live topology."""

import base64
import hashlib
import re
from collections.abc import Callable

import pytest
import yaml

from providers.surge import topology as parts
from providers.surge.problems import ProblemError
from providers.surge.topology import Live, matches, plan
from providers.surge.topology_inputs import Topology
from surge.model import Broker, Settings

ALL = {"configure": ".*", "write": ".*", "read": ".*"}


def wanted(**changes):
    return Topology.model_validate(
        {
            "management_url": "http://127.0.0.1:1",
            "admin_user": "admin",
            "admin_password": "secret",
            "vhost": "surge",
            **changes,
        }
    )


def live(**changes):
    return Live(vhost=True, permissions={"admin": ALL}, **changes)


def queue(messages=0, **arguments):
    return {
        "type": "quorum",
        "durable": True,
        "arguments": {"x-queue-type": "quorum", **arguments},
        "messages": messages,
    }


def removals(old, wanted, live, kept=()):
    """What an update or a delete takes away, in its order."""
    queues = parts.doomed(old, wanted, live, kept)
    return [*parts.unbindings(old, wanted, live), *parts.deletions(old, wanted, live, queues, kept)]


def titles(steps):
    return [step.title for step in steps]


def test_an_empty_broker_gets_everything_in_the_order_of_need():
    topology = wanted(
        exchanges=[{"name": "x"}],
        queues=[{"name": "q"}],
        bindings=[{"source": "x", "destination": "q", "routing_key": "k"}],
        users=[{"name": "worker", "password": "p"}],
    )
    assert titles(plan(topology, Live())) == [
        "create vhost surge",
        "let admin into surge",
        "create exchange x",
        "create queue q",
        "create binding x -> q ('k')",
        "create user worker",
        "set permissions of worker on surge",
    ]


def test_an_equal_queue_is_adopted_without_a_request():
    topology = wanted(queues=[{"name": "q", "arguments": {"x-delivery-limit": 5}}])
    assert plan(topology, live(queues={"q": queue(**{"x-delivery-limit": 5})})) == []


def test_arguments_of_an_existing_queue_cannot_change_and_the_error_says_how_to_go_on():
    topology = wanted(queues=[{"name": "q", "arguments": {"x-delivery-limit": 5}}])
    with pytest.raises(ProblemError, match=r"queue q .*x-delivery-limit: 3 -> 5.*delete queue name=q"):
        plan(topology, live(queues={"q": queue(**{"x-delivery-limit": 3})}))


def test_a_queue_that_holds_messages_is_not_deleted_and_neither_is_anything_else():
    old = wanted(queues=[{"name": "q"}, {"name": "r"}])
    with pytest.raises(ProblemError, match=r'queue q holds 7 messages.*delete-non-empty: \["q"\]'):
        removals(old, None, live(queues={"q": queue(7), "r": queue()}))


def test_a_named_queue_is_deleted_with_its_messages():
    old = wanted(queues=[{"name": "q"}], delete_non_empty=["q"])
    assert titles(removals(old, None, live(queues={"q": queue(7)}))) == ["delete queue q"]


def advised(refused: Callable[[], object]) -> Broker:
    """The settings of the broker that a refusal tells the reader to write."""
    with pytest.raises(ProblemError) as seen:
        refused()
    [text] = re.findall(r"put `(.*)` under surge:settings in Pulumi\.<stack>\.yaml", str(seen.value))
    return Settings.parse({"stack-kind": "local", "cluster": {"name": "one"}, **yaml.safe_load(text)}).broker


def test_a_refusal_says_what_to_write_into_the_settings_as_they_are_read():
    old = wanted(queues=[{"name": "filter.beard"}, {"name": "dead-letters"}])
    found = live(queues={"filter.beard": queue(7), "dead-letters": queue(1)})
    assert advised(lambda: removals(old, None, found)).delete_non_empty == ["filter.beard", "dead-letters"]
    user = {"name": "worker.seoul", "password": "ours"}
    found = live(users={"worker.seoul": {"tags": ["administrator"], "password_hash": "AAAAAA=="}})
    assert advised(lambda: plan(wanted(users=[user]), found)).adopt == ["user worker.seoul"]


def test_what_is_not_ours_is_never_deleted():
    found = live(queues={"q": queue(), "foreign": queue()}, exchanges={"foreign": {}})
    assert titles(removals(wanted(queues=[{"name": "q"}]), wanted(), found)) == ["delete queue q"]


def test_what_was_adopted_stays_and_only_our_bindings_go():
    binding = {"source": "x", "destination": "q", "routing_key": "k"}
    topology = wanted(exchanges=[{"name": "x"}], queues=[{"name": "q"}], bindings=[binding])
    bound = {**binding, "destination_type": "queue", "arguments": {}, "properties_key": "k"}
    found = live(
        queues={"q": queue(7)}, exchanges={"x": {}}, bindings=[bound, {**bound, "routing_key": "foreign"}]
    )
    kept = parts.adopted(topology, found)
    assert kept == ["vhost", "exchange x", "queue q"]
    assert titles(removals(topology, None, found, kept)) == ["delete binding x -> q ('k')"]


def test_a_policy_of_others_is_changed_only_when_it_is_named():
    policy = {"name": "limits", "pattern": "^q", "definition": {"delivery-limit": 5}}
    theirs = {"pattern": "^q", "apply-to": "queues", "definition": {"delivery-limit": 1}, "priority": 0}
    found = live(policies={"limits": theirs})
    with pytest.raises(
        ProblemError, match=r'policy limits .*nothing was changed.*adopt: \["policy limits"\]'
    ):
        plan(wanted(policies=[policy]), found)
    change = "update policy limits (definition: {'delivery-limit': 1} -> {'delivery-limit': 5})"
    assert titles(plan(wanted(policies=[policy], adopt=["policy limits"]), found)) == [change]
    assert titles(plan(wanted(policies=[policy]), found, ["policy limits"])) == [change]


def test_a_user_of_others_may_be_let_in_and_nothing_more():
    hashed = base64.b64encode(b"salt" + hashlib.sha256(b"saltright").digest()).decode()
    found = live(users={"worker": {"tags": [], "password_hash": hashed}})
    same = wanted(users=[{"name": "worker", "password": "right", "permissions": {"read": "^q$"}}])
    assert titles(plan(same, found)) == ["set permissions of worker on surge"]
    with pytest.raises(ProblemError, match="user worker in vhost surge: there already"):
        plan(wanted(users=[{"name": "worker", "password": "wrong"}]), found)


@pytest.mark.parametrize(("password", "steps"), [("right", []), ("wrong", ["update user worker"])])
def test_a_password_is_compared_with_the_salted_hash(password, steps):
    hashed = base64.b64encode(b"salt" + hashlib.sha256(b"saltright").digest()).decode()
    assert matches("right", hashed)
    rights = {"configure": "", "write": "", "read": "^q$"}
    topology = wanted(users=[{"name": "worker", "password": password, "permissions": rights}])
    found = Live(
        vhost=True,
        users={"worker": {"tags": [], "password_hash": hashed}},
        permissions={"admin": ALL, "worker": rights},
    )
    assert titles(plan(topology, found, ["user worker"])) == steps


def test_a_step_does_not_show_its_body():
    steps = plan(wanted(users=[{"name": "worker", "password": "hunter2"}]), live())
    assert "hunter2" not in repr(steps)
