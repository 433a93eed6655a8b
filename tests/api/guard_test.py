"""A restarting source is compared before its replicas see it (DESIGN.md 4, REDIS.md 2 rows 1, 2, 4).

Each case restarts a source whose data may be older than its replicas', on real servers. The
replicas keep every key, the fault names the way out, and `start --accept-data-loss` is the only
way past.
"""
import os
import shutil
import signal
import time

import pytest

from harness import Dev, attempt, wait_until

KEYS = 200


@pytest.fixture()
def dev():
    # The delay is the time in which a test changes files under a dead server.
    with Dev(settings=["agent.restart_delay=1500", "replication.compare_limit=5"]) as d:
        yield d


def group(d):
    source = d.create("src")
    replica = d.replicas("src", 1, "rep")[0]
    fill(d, source, 0, KEYS)
    wait_until("the replica has every key", lambda: d.redis(replica).dbsize() == KEYS)
    # Behind a first copy the AOF lacks all until it is rewritten: what dies sooner comes back empty.
    wait_until("its AOF is whole", lambda: d.redis(replica).info("persistence")[
        "aof_rewrite_in_progress"] == 0)
    return source, replica


def fill(d, instance, first, last):
    with d.redis(instance).pipeline(transaction=False) as p:
        for i in range(first, last):
            p.set(f"k{i}", str(i))
        p.execute()


def data(d, instance):
    return os.path.join(d.folder(instance), "data")


def held(d, source, replica, keys):
    """The source is held: in ERROR with the way out, not writable, and the replica untouched."""
    shown = d.wait_status("src", "ERROR")
    text = shown["fault"]["message"]
    assert "--accept-data-loss" in text and "eject" in text, text
    with pytest.raises(Exception, match="READONLY|read only"):
        d.redis(source).set("x", "y")
    assert d.redis(replica).dbsize() == keys
    assert d.show("rep")["status"] == "ACTIVE"
    assert "source.held" in [e["event"] for e in d.events()]
    # It stays so: nothing else lets it pass.
    assert d.tanist("start", "src", check=False).returncode != 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert d.redis(replica).dbsize() == keys
        time.sleep(0.1)
    assert d.show("src")["status"] == "ERROR"


def accepted(d, source, replica, keys):
    """With the operator's word it goes on with what it has, and the replica copies it."""
    d.tanist("start", "src", "--accept-data-loss")
    d.wait_status("src", "ACTIVE")
    wait_until("the source is master", lambda: attempt(
        lambda: d.redis(source).info("replication")["role"] == "master"))
    assert d.redis(source).dbsize() == keys
    wait_until("the replica is a copy again", lambda: attempt(
        lambda: d.redis(replica).info("replication")["master_link_status"] == "up"
        and d.redis(replica).dbsize() == keys))


def test_data_files_removed(dev):
    source, replica = group(dev)
    dev.kill_server(source)
    shutil.rmtree(data(dev, source))
    os.mkdir(data(dev, source))
    held(dev, source, replica, KEYS)
    accepted(dev, source, replica, 0)


def test_an_older_aof_put_back(dev, tmp_path):
    source, replica = group(dev)
    shutil.copytree(data(dev, source), tmp_path / "old")
    fill(dev, source, KEYS, 2 * KEYS)
    wait_until("the replica has every key", lambda: dev.redis(replica).dbsize() == 2 * KEYS)
    dev.kill_server(source)
    shutil.rmtree(data(dev, source))
    shutil.copytree(tmp_path / "old", data(dev, source))
    held(dev, source, replica, 2 * KEYS)
    accepted(dev, source, replica, KEYS)


def power_loss(d, *servers):
    """Everything dies at once, tanist first, so that nobody notes the servers' end."""
    pids = [d.pid(s) for s in servers]
    d.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_host_rebooted_and_the_marker_gone(dev):
    source, replica = group(dev)
    power_loss(dev, source, replica)
    os.unlink(os.path.join(dev.folder(source), "marker.json"))
    dev.env["TANIST_BOOT_ID"] = "00000000-0000-4000-8000-000000000001"
    dev.start()
    wait_until("the replica runs", lambda: attempt(lambda: dev.redis(replica).dbsize() == KEYS))
    held(dev, source, replica, KEYS)
    accepted(dev, source, replica, KEYS)


def test_host_rebooted_with_every_key(dev):
    """All members come back with all their keys: nothing to ask a human about."""
    source, replica = group(dev)
    # appendfsync everysec: what is older than two seconds is on the disk.
    time.sleep(2.1)
    power_loss(dev, source, replica)
    dev.env["TANIST_BOOT_ID"] = "00000000-0000-4000-8000-000000000002"
    dev.start()
    wait_until("the source is master with every key", lambda: attempt(
        lambda: dev.redis(source).info("replication")["role"] == "master"
        and dev.redis(source).dbsize() == KEYS), limit=60)
    wait_until("the replica follows", lambda: attempt(
        lambda: dev.redis(replica).info("replication")["master_link_status"] == "up"
        and dev.redis(replica).dbsize() == KEYS))
    assert dev.show("src")["status"] == "ACTIVE"


def test_a_replica_promoted_by_hand(dev):
    source, replica = group(dev)
    dev.agent_redis(replica).execute_command("SLAVEOF NO ONE")
    dev.redis(replica).set("mine", "1")
    dev.kill_server(source)
    shown = dev.wait_status("src", "ERROR")
    assert "--accept-data-loss" in shown["fault"]["message"]
    assert dev.redis(replica).dbsize() == KEYS + 1
    assert "--accept-data-loss" in dev.wait_status("rep", "ERROR")["fault"]["message"]
    # Both words are needed: the source goes on, and the replica gives up its own writes.
    dev.tanist("start", "src", "--accept-data-loss")
    dev.wait_status("src", "ACTIVE")
    assert dev.redis(replica).dbsize() == KEYS + 1
    dev.tanist("start", "rep", "--accept-data-loss")
    dev.wait_status("rep", "ACTIVE")
    wait_until("it is a copy again", lambda: attempt(
        lambda: dev.redis(replica).dbsize() == KEYS
        and dev.redis(replica).info("replication")["role"] == "slave"))


def test_a_group_of_one_starts_at_once(dev):
    alone = dev.create("alone")
    fill(dev, alone, 0, KEYS)
    dev.kill_server(alone)
    wait_until("it is back", lambda: attempt(
        lambda: dev.redis(alone).info("replication")["role"] == "master"
        and dev.redis(alone).dbsize() == KEYS))
    wait_until("its start is an entry of the history",
               lambda: "epoch.started" in [e["event"] for e in dev.events()])
    kinds = [e["event"] for e in dev.events()]
    assert "source.held" not in kinds and "source.comparing" not in kinds


def test_a_group_never_written_to_goes_on(dev):
    source = dev.create("src")
    replica = dev.replicas("src", 1, "rep")[0]
    dev.kill_server(source)
    shutil.rmtree(data(dev, source))
    os.mkdir(data(dev, source))
    wait_until("it is master again", lambda: attempt(
        lambda: dev.redis(source).info("replication")["role"] == "master"))
    wait_until("the replica follows", lambda: attempt(
        lambda: dev.redis(replica).info("replication")["master_link_status"] == "up"))
