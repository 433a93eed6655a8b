"""An ejected source is attached to a group that it never was in, on real servers: while it runs it
takes on that group's passwords, and of what it held nothing is left (DESIGN.md 5).
"""
import os
import signal

import pytest
import redis

from groups import Group, port
from harness import Crash, Dev, attempt, crash_points, wait_until
from writers import Writers, discover

SETTINGS = ["agent.restart_delay=1000"]  # the eject comes before the restart


@pytest.fixture()
def dev():
    with Dev(discovery=True, settings=SETTINGS) as d:
        yield d


def ejected(d, name="left"):
    """A group that lost its source, and that source: its server runs again, fenced."""
    g = Group(d, replicas=1, name=name)
    g.fill(100)
    old = g.members.pop(0)
    witness = g.members[0]
    before = d.look(witness).get("last_operation")
    g.kill(old)
    wait_until("the eject is accepted",
               lambda: d.ask(old, "eject_replica_source")[0] == 202, every=0.005)
    assert d.outcome(witness, before)["done"], g.story()
    wait_until("its server is back", lambda: attempt(lambda: d.pid(old)))
    wait_until("it is BLOCKED", lambda: d.look(old)["status"] == "BLOCKED")
    return g, old


def attach(d, instance, source):
    """As soon as its server is heard: what it has is given up of the run that is seen."""
    def asked():
        status, message = d.ask(instance, "attach", replica_of=source["id"])
        assert status in (202, 422), (status, message)
        return status == 202
    wait_until("the attach is accepted", asked, every=0.05)


def passwords(d, instance):
    """Of the users that are ours, as its file has them."""
    with open(os.path.join(d.folder(instance), "redis.conf")) as f:
        users = [line.split() for line in f if line.startswith("user tanist-")]
    return {u[1]: w[1:] for u in users for w in u if w.startswith(">")}


def test_it_takes_on_the_other_groups_passwords(dev):
    left, old = ejected(dev)
    g = Group(dev, replicas=1, name="joined")
    g.fill(200, size=16)
    before, theirs = passwords(dev, old), passwords(dev, g.members[0])
    assert set(before) == {"tanist-agent", "tanist-repl"} == set(theirs)
    assert not set(before.values()) & set(theirs.values())
    with Writers(dev, g.name, count=2) as w:
        attach(dev, old, g.members[0])
        g.members.append(old)
        g.settle()
        w.goes_on()
    w.verify(g.source(), g.replicas())
    assert g.has_all(old, 200, size=16) and dev.redis(old).dbsize() == dev.redis(g.source()).dbsize()

    # In the file, in memory, and what it was before opens nothing any more.
    wait_until("its file has them", lambda: passwords(dev, old) == theirs)
    for user in before:
        assert dev.redis(old, username=user, password=theirs[user]).ping()
        with pytest.raises(redis.RedisError, match="WRONGPASS"):
            dev.redis(old, username=user, password=before[user]).ping()
    assert dev.agent_redis(old).config_get("masterauth")["masterauth"] == theirs["tanist-repl"]

    # It is a member like any other: killed it comes back, promoted it serves.
    dev.kill_server(old)
    g.settle()
    g.wait_durable()
    dev.promote(old, patience=10)
    assert discover(dev.discovery_port, g.name) == (old["ip"][0], port(old))
    g.settle()
    assert all(g.has_all(m, 200, size=16) for m in g.members)
    # The group that it was in is as it was.
    assert left.is_settled() and left.has_all(left.source(), 100)
    assert left.replication(left.source())["connected_slaves"] == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_agent_that_dies_meanwhile_still_gets_in(when):
    """The new goal is durable on its disk; the server has the old passwords, or the new ones in
    memory alone."""
    point = f"act.config-set.{when}"
    if point not in crash_points():
        pytest.skip("a build without crash points")
    crash = Crash()
    with Dev(discovery=True, settings=SETTINGS, env=crash.env) as d:
        left, old = ejected(d)
        g = Group(d, replicas=0, name="joined")
        g.fill(50)
        crash.arm(point)
        attach(d, old, g.members[0])
        pid = crash.reached()
        assert pid == d.program_pid("agent")
        crash.arm(None)
        os.kill(pid, signal.SIGKILL)
        g.members.append(old)
        g.settle(60)
        assert g.has_all(old, 50)
        wait_until("its file has the passwords",
                   lambda: passwords(d, old) == passwords(d, g.members[0]))
        assert left.is_settled()
    crash.close()


def test_killed_right_behind_the_attach(dev):
    """The server that was seen is gone before it was told anything: a later run of it has no word
    of the operator's, but it starts with the new file and follows."""
    left, old = ejected(dev)
    g = Group(dev, replicas=1, name="joined")
    g.fill(50)
    attach(dev, old, g.members[0])
    attempt(lambda: dev.kill_server(old))
    g.members.append(old)
    g.settle(60)
    assert g.has_all(old, 50) and left.is_settled()
