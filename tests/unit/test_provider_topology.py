"""Plans between a wanted and a live topology."""

import base64
import hashlib

import pytest

from providers.surge.problems import ProblemError
from providers.surge.topology import Live, Topology, matches, plan, removals

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
    with pytest.raises(ProblemError, match=r'queue q holds 7 messages.*delete_non_empty: \["q"\]'):
        removals(old, None, live(queues={"q": queue(7), "r": queue()}))


def test_a_named_queue_is_deleted_with_its_messages():
    old = wanted(queues=[{"name": "q"}], delete_non_empty=["q"])
    assert titles(removals(old, None, live(queues={"q": queue(7)}))) == ["delete queue q"]


def test_what_is_not_ours_is_never_deleted():
    found = live(queues={"q": queue(), "foreign": queue()}, exchanges={"foreign": {}})
    assert titles(removals(wanted(queues=[{"name": "q"}]), wanted(), found)) == ["delete queue q"]


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
    assert titles(plan(topology, found)) == steps


def test_a_step_does_not_show_its_body():
    steps = plan(wanted(users=[{"name": "worker", "password": "hunter2"}]), live())
    assert "hunter2" not in repr(steps)
