"""What may cost data, tried on real servers: no replica that ever was ACTIVE loses a key that its
source acknowledged, whatever dies, in whatever order (DESIGN.md 9; rows: REDIS.md 2).

A scenario ends when the group serves again with every key, or is held with every key still there.
"""
import itertools
import json
import os
import shutil
import signal
import subprocess

import pytest

from harness import Dev, attempt, wait_until

KEYS = 200


@pytest.fixture()
def dev():
    with Dev(settings=["agent.restart_delay=0", "replication.compare_limit=5"]) as d:
        yield d


@pytest.fixture()
def slow_dev():
    """Time between a server's death and its next start, to change files in."""
    with Dev(settings=["agent.restart_delay=1500", "replication.compare_limit=5"]) as d:
        yield d


def fill(d, instance, first, last):
    with d.redis(instance).pipeline(transaction=False) as p:
        for i in range(first, last):
            p.set(f"k{i}", str(i))
        p.execute()


def keys(d, instance):
    return attempt(lambda: d.redis(instance).dbsize())


def role(d, instance):
    return attempt(lambda: d.redis(instance).info("replication")["role"])


def linked(d, instance):
    return attempt(lambda: d.redis(instance).info("replication")["master_link_status"] == "up")


def group(d, replicas=1):
    source = d.create("src")
    copies = d.replicas("src", replicas, "rep")
    fill(d, source, 0, KEYS)
    for c in copies:
        wait_until("the replica has every key", lambda c=c: keys(d, c) == KEYS)
    return source, copies


def serves(d, source, copies, count, limit=40):
    """The source is master with every key, and so is every copy."""
    wait_until("the source serves with every key",
               lambda: role(d, source) == "master" and keys(d, source) == count, limit)
    for c in copies:
        wait_until("the replica follows with every key",
                   lambda c=c: linked(d, c) and keys(d, c) == count, limit)
    d.wait_status("src", "ACTIVE")


def begin_replica(d):
    """A replica in the making: it has its address, and its copy is yet to come."""
    d.tanist("create", "rep", "--replica-of", "src")
    conf = os.path.join(d.folder(d.show("rep")), "redis.conf")
    wait_until("its file is written", lambda: os.path.exists(conf))
    with open(conf) as f:
        words = dict(line.split(None, 1) for line in f if " " in line.strip())
    return dict(d.show("rep"), ip=[words["bind"].split()[0]], port=int(words["port"]))


def kinds(d):
    return [e["event"] for e in d.events()]


def pid_of(d, instance):
    return attempt(lambda: d.pid(instance))


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def data(d, instance):
    return os.path.join(d.folder(instance), "data")


def remove_files(d, instance):
    shutil.rmtree(data(d, instance))
    os.mkdir(data(d, instance))


def agent_pid(d):
    with open(os.path.join(d.dir, "agent", "lock")) as f:
        return int("".join(c for c in f.read() if c.isdigit() or c == " ").split()[0])


def test_row_1_source_killed_again_and_again_while_it_is_compared(dev):
    source, copies = group(dev, 2)
    last = None
    for _ in range(3):
        pid = wait_until("another run of the source", lambda: (
            lambda p: p if p and p != last else None)(pid_of(dev, source)))
        kill(pid)
        last = pid
        assert all(keys(dev, c) == KEYS for c in copies)
    serves(dev, source, copies, KEYS)
    assert "source.held" not in kinds(dev)


@pytest.mark.parametrize("half", [0, 1])
def test_row_15_all_members_killed_in_every_order(dev, half):
    source, copies = group(dev, 2)
    members, count = [source, *copies], KEYS
    # Half of the orders each: a server that dies often is started ever less often.
    for order in list(itertools.permutations(members))[half::2]:
        fill(dev, source, count, count + 20)
        count += 20
        for c in copies:
            wait_until("the replica has every key", lambda c=c: keys(dev, c) == count)
        for pid in [dev.pid(m) for m in order]:
            kill(pid)
        serves(dev, source, copies, count)
    assert "source.held" not in kinds(dev)


def test_row_1_source_killed_during_a_first_sync(dev):
    source = dev.create("src")
    fill(dev, source, 0, KEYS)
    # 5 ms a key: the copy takes a second.
    dev.agent_redis(source).config_set("rdb-key-save-delay", 5000)
    copy = begin_replica(dev)
    wait_until("the copy has begun", lambda: attempt(
        lambda: dev.redis(source).info("persistence")["rdb_bgsave_in_progress"] == 1))
    dev.kill_server(source)
    dev.wait_status("rep", "ACTIVE")
    serves(dev, source, [copy], KEYS)


def test_row_11_replica_killed_before_its_aof_is_whole_then_the_source_lost(slow_dev):
    """ACTIVE means that it holds the data: also while the AOF behind its first copy is written."""
    d = slow_dev
    source = d.create("src")
    fill(d, source, 0, KEYS)
    d.agent_redis(source).config_set("rdb-key-save-delay", 5000)
    copy = begin_replica(d)
    wait_until("its server answers", lambda: attempt(
        lambda: d.agent_redis(copy).config_set("rdb-key-save-delay", 100000)))
    assert d.show("rep")["status"] == "BUILD"
    d.wait_status("rep", "ACTIVE")
    assert d.redis(copy).info("persistence")["aof_rewrite_in_progress"] == 1
    pids = [d.pid(copy), d.pid(source)]
    for pid in pids:
        kill(pid)
    remove_files(d, source)
    wait_until("the replica is back", lambda: keys(d, copy) is not None)
    assert keys(d, copy) == KEYS
    d.wait_status("src", "ERROR")
    assert keys(d, copy) == KEYS


def test_a_flushed_source_is_not_held(dev):
    """FLUSHALL is a write like any other: an empty source is what was asked for."""
    source, copies = group(dev, 1)
    dev.redis(source).flushall()
    wait_until("the replica is empty too", lambda: keys(dev, copies[0]) == 0)
    dev.kill_server(source)
    serves(dev, source, copies, 0)
    assert "source.held" not in kinds(dev)


def test_a_source_killed_right_after_an_aof_rewrite_is_not_held(dev):
    source, copies = group(dev, 1)
    manifest = os.path.join(data(dev, source), "appendonlydir", "appendonly.aof.manifest")
    client, pid = dev.agent_redis(source), dev.pid(source)
    with open(manifest) as f:
        before = f.read()
    # Off and on is the one rewrite that the agent's user may ask for.
    client.config_set("appendonly", "no")
    client.config_set("appendonly", "yes")
    wait_until("the AOF is rewritten", lambda: open(manifest).read() != before and
               dev.redis(source).info("persistence")["aof_rewrite_in_progress"] == 0, every=0.002)
    # The look of the agent comes once a second: this is sooner.
    wait_until("the marker knows", lambda: marker_fits(dev, source), limit=0.2, every=0.002)
    kill(pid)
    wait_until("another run", lambda: pid_of(dev, source) not in (None, pid))
    serves(dev, source, copies, KEYS)
    assert "source.held" not in kinds(dev)


def marker_fits(d, instance):
    with open(os.path.join(data(d, instance), "appendonlydir", "appendonly.aof.manifest")) as f:
        manifest = f.read()
    with open(os.path.join(d.folder(instance), "marker.json")) as f:
        return json.load(f).get("manifest") == manifest


def test_row_1_started_by_hand_without_data_while_the_agent_is_down(dev):
    """The file on disk is safe for a start that nobody compares: no replica copies from it."""
    source, copies = group(dev, 2)
    pid = dev.pid(source)
    dev.kill()
    kill(pid)
    remove_files(dev, source)
    by_hand = subprocess.Popen(["redis-server", os.path.join(dev.folder(source), "redis.conf")],
                               cwd="/", stdout=subprocess.DEVNULL)
    try:
        wait_until("it answers", lambda: keys(dev, source) is not None)
        # Each replica asks for a copy once a second; three refusals each are enough.
        wait_until("the replicas have asked it", lambda: asked(dev, source, copies), 20)
        assert [keys(dev, c) for c in copies] == [KEYS, KEYS]
    finally:
        by_hand.kill()
        by_hand.wait()
    dev.start()
    wait_until("the source is held", lambda: "source.held" in kinds(dev))
    assert "--accept-data-loss" in dev.show("src")["fault"]["message"]
    assert [keys(dev, c) for c in copies] == [KEYS, KEYS]


def asked(d, source, copies):
    """Every copy was told that there is nothing to be had, or has lost its keys already."""
    def told(c):
        with open(os.path.join(d.folder(c), "server.log")) as f:
            return f.read().count("MASTER <-> REPLICA sync started") > 3 or keys(d, c) != KEYS
    return all(told(c) for c in copies)


@pytest.mark.parametrize("tamper", ["truncated", "longer", "replaced"])
def test_row_2_aof_changed_after_a_clean_stop(dev, tamper):
    source, copies = group(dev, 1)
    dev.stop()
    folder = os.path.join(data(dev, source), "appendonlydir")
    aof = [os.path.join(folder, n) for n in os.listdir(folder) if n.endswith(".incr.aof")][0]
    if tamper == "truncated":
        with open(aof, "r+b") as f:
            f.truncate(0)
    elif tamper == "longer":
        with open(aof, "ab") as f:
            f.write(b"*1\r\n$8\r\nFLUSHALL\r\n")
    else:
        shutil.copy(aof, aof + ".new")
        os.rename(aof + ".new", aof)
    dev.start()
    shown = dev.wait_status("src", "ERROR")
    assert "--accept-data-loss" in shown["fault"]["message"]
    wait_until("the replica keeps every key", lambda: keys(dev, copies[0]) == KEYS)


def test_a_clean_stop_of_everything_is_not_held(dev):
    source, copies = group(dev, 2)
    dev.stop()
    dev.start()
    serves(dev, source, copies, KEYS)
    dev.env["TANIST_BOOT_ID"] = "00000000-0000-4000-8000-000000000003"
    dev.stop()
    dev.start()
    serves(dev, source, copies, KEYS)
    assert "source.held" not in kinds(dev)


def test_row_25_control_plane_and_agent_killed_while_a_source_restarts(dev):
    source, copies = group(dev, 2)
    for _ in range(3):
        pid = dev.pid(source)
        kill(pid)
        wait_until("another run", lambda: pid_of(dev, source) not in (None, pid))
        dev.kill()
        dev.start()
        serves(dev, source, copies, KEYS)
    assert "source.held" not in kinds(dev)


def test_rows_21_22_31_every_file_is_what_a_restart_needs(dev):
    source, copies = group(dev, 2)
    users = set()
    for m in [source, *copies]:
        client = dev.agent_redis(m)
        assert client.config_get("repl-backlog-ttl")["repl-backlog-ttl"] == "0"
        with open(os.path.join(dev.folder(m), "redis.conf")) as f:
            lines = f.read().splitlines()
        users.add(tuple(l for l in lines if l.startswith(("masterauth ", "masteruser ", "user tanist"))))
        assert not [l for l in lines if l.startswith("include ")]
        assert os.stat(os.path.join(dev.folder(m), "redis.conf")).st_mode & 0o777 == 0o600
        upstream = [l for l in lines if l.startswith("slaveof ")]
        # A source's own file keeps it from its replicas: who starts it has not compared it.
        assert upstream == (["slaveof 127.0.0.1 0"] if m is source else
                            [f'slaveof "{source["ip"][0]}" {source.get("port", 6379)}'])
    assert len(users) == 1
