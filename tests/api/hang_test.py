"""A server that hangs (SIGSTOP): it is told of and left alone, because a stall may pass and a kill
loses what is in memory. Continued, it is as before; deleted, it goes at once.
"""
import contextlib
import os
import signal
import time

import pytest

from harness import Dev, attempt, wait_until


@pytest.fixture()
def dev():
    with Dev() as d:
        yield d


@contextlib.contextmanager
def stopped(d, instance):
    """The instance's server stands still; it is continued in the end if it is still there."""
    pid = d.pid(instance)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def operating(d, name):
    return d.show(name)["operating_status"]


def hangs(d, name):
    wait_until(f"{name} is seen to hang", lambda: operating(d, name) == "BLOCKED", every=0.1)
    assert d.show(name)["status"] == "ACTIVE"
    down = [e for e in d.events() if e["event"] == "instance.down"]
    assert "hangs" in down[-1]["reason"], down


def kinds(d):
    return [e["event"] for e in d.events()]


def recovers(d, instance, run):
    wait_until(f"{instance['name']} is healthy",
               lambda: operating(d, instance["name"]) == "HEALTHY", every=0.1)
    assert d.redis(instance).info("server")["run_id"] == run, "it was restarted"
    wait_until("its return is told", lambda: "instance.returned" in kinds(d))


def is_copy(d, replica, keys):
    info = d.redis(replica).info("replication")
    return info["master_link_status"] == "up" and d.redis(replica).dbsize() == keys


def test_a_hung_replica(dev):
    source = dev.create("src")
    replicas = dev.replicas("src", 2, "rep")
    run = dev.info(replicas[0])["run_id"]
    dev.redis(source).set("k1", "v")
    with stopped(dev, replicas[0]):
        hangs(dev, "rep-1")
        dev.redis(source).set("k2", "v")
        wait_until("the other one follows", lambda: attempt(lambda: is_copy(dev, replicas[1], 2)))
        assert operating(dev, "src") == operating(dev, "rep-2") == "HEALTHY"
    recovers(dev, replicas[0], run)
    wait_until("it has what it missed", lambda: attempt(lambda: is_copy(dev, replicas[0], 2)))
    assert dev.redis(source).info("stats")["sync_full"] == 2, "it was copied anew"


def test_a_hung_source(dev):
    source = dev.create("src")
    replica = dev.replicas("src", 1, "rep")[0]
    run = dev.info(source)["run_id"]
    dev.redis(source).set("k", "v")
    wait_until("the replica has it", lambda: attempt(lambda: is_copy(dev, replica, 1)))
    with stopped(dev, source):
        hangs(dev, "src")
        assert dev.redis(replica).get("k") == "v", "the replica goes on answering"
        # One that comes now waits for it, and is no error.
        dev.tanist("create", "late", "--replica-of", "src")
        wait_until("it has begun", lambda: kinds(dev).count("instance.syncing") == 2)
        assert dev.show("late")["status"] == "BUILD"
    recovers(dev, source, run)
    dev.redis(source).set("k2", "v")
    for instance in (replica, dev.wait_status("late", "ACTIVE")):
        wait_until("a copy", lambda i=instance: attempt(lambda: is_copy(dev, i, 2)))
    assert not {"source.comparing", "source.held", "instance.failed"} & set(kinds(dev))


def test_a_hung_server_outlives_its_agent(dev):
    """A new agent adopts it, hung as it is, and starts no second one."""
    source = dev.create("src")
    run = dev.info(source)["run_id"]
    with stopped(dev, source) as pid:
        hangs(dev, "src")
        dev.kill_program("agent")
        wait_until("the new agent tells as well", lambda: operating(dev, "src") == "BLOCKED",
                   limit=30, every=0.1)
        assert dev.server_pids() == [pid]
    recovers(dev, source, run)


@pytest.mark.parametrize("known", [True, False], ids=["seen to hang", "just now"])
def test_deleting_hung_servers(dev, known):
    source = dev.create("src")
    replica = dev.replicas("src", 1, "rep")[0]
    with stopped(dev, replica), stopped(dev, source):
        if known:
            hangs(dev, "rep")
            hangs(dev, "src")
        for name in ("rep", "src"):
            dev.tanist("delete", name)
            wait_until(f"{name} is gone",
                       lambda name=name: name not in [i["name"] for i in dev.instances()],
                       limit=15, every=0.05)
        wait_until("no server is left", lambda: dev.server_pids() == [])
    assert os.listdir(os.path.join(dev.dir, "agent", "instances")) == []


def test_a_hung_server_does_not_hold_up_the_end_of_dev(dev):
    """It does not hear SIGTERM: after the limit it is killed, and comes back with its data."""
    source = dev.create("src")
    dev.redis(source).set("k", "v")
    dev.stop()
    dev.settings = ["agent.stop_limit=2"]
    dev.start()
    wait_until("it serves", lambda: attempt(lambda: dev.redis(source).get("k") == "v"))
    with stopped(dev, source):
        began = time.monotonic()
        assert dev.stop() == 0
        assert time.monotonic() - began < 20
    assert dev.server_pids() == []
    dev.start()
    wait_until("it is back with its key",
               lambda: attempt(lambda: dev.redis(source).get("k") == "v"))
