"""
tanist-agent's part in handover, eject, detach and attach, on real servers: the fence and what ends
it, a source that yields, replicas that are sealed, a former source that comes back. The control
plane is the stand-in of agent_test.py; the sequence of an operation is what a test sets.
"""

import os
import signal
import subprocess
import threading
import time
import uuid

import pytest

from agent_test import (AGENT, AGENT_SECRET, Host, Redis, control, fill, grouped, host, pair,
                        wait_for, waits)
from harness import durable_goal

# Fixtures.
__all__ = ["control", "host"]


def ask(host, instance, *words):
    """As the agent does: over the server's own socket, which no fence and no pause stops."""
    with open(host.path(instance, "redis.conf")) as f:
        sock = [line.split()[1].strip('"') for line in f if line.startswith("unixsocket ")][0]
    return subprocess.run(["redis-cli", "-s", sock, "--user", "tanist-agent", *map(str, words)],
                          env={**os.environ, "REDISCLI_AUTH": AGENT_SECRET}, check=True,
                          capture_output=True, text=True, timeout=10).stdout.split("\n")


def setting(host, instance, name):
    return ask(host, instance, "CONFIG", "GET", name)[1]


def info(host, instance, name):
    for line in ask(host, instance, "INFO"):
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
    return ""


class Writer:
    """Sets numbered keys one by one, and knows which were acknowledged and what was refused."""

    def __init__(self, address, port):
        self.address, self.port = address, port
        self.acked, self.refused, self.over = [], [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        redis, n = Redis(self.address, self.port), 0
        while not self.over:
            try:
                answer = redis("SET", f"w:{n}", n)
            except OSError as e:
                answer = f"-LOST {e}"
            if answer == "OK":
                self.acked.append(n)
            else:
                self.refused.append(answer)
                return
            n += 1
            time.sleep(0.001)

    def stop(self):
        self.over = True
        self.thread.join(10)
        assert not self.thread.is_alive(), "the writer is still held up"


class Handover:
    """What a control plane does to hand over from one instance to the other."""

    def __init__(self, host, source, target):
        self.host, self.control, self.source, self.target = host, host.control, source, target
        self.run = self.control.seen(source)["run_id"]
        self.port = self.control.goals[target]["port"]
        self.number = 100

    def live(self, **of_source):
        self.number += 1
        self.control.watch(self.target, self.number, True, urgent=True)
        self.control.watch(self.source, self.number, True, urgent=True, **of_source)

    def calm(self):
        with self.control.lock:
            self.control.watches.clear()
            self.control.watch_revision += 1
            self.control.lock.notify_all()

    def fence(self):
        self.live()
        self.control.set_goal(self.source, role="yielding", fenced=True, confirmed_run=self.run,
                              start_at_once=False, upstream_host=self.host.address,
                              upstream_port=self.port)
        return self.host.until(self.source, "fenced", lambda o: o.get("fenced"))

    def yields(self):
        frozen = self.fence()
        t = self.host.until(self.target, "it has everything", lambda o: o["slave_offset"] >= frozen["offset"])
        self.live(peer=t["slave_offset"])
        o = self.host.until(self.source, "it has yielded", lambda o: o["role"] == "replica" and
                            o.get("upstream_port") == self.port)
        self.host.until(self.target, "its last byte", lambda t: t["slave_offset"] >= o["slave_offset"])
        return o

    def promote(self):
        run = self.control.seen(self.target)["run_id"]
        self.control.set_goal(self.source, role="replica", epoch=2, fenced=False, demote_accepted=True,
                              confirmed_run="", kill_hung=True)
        self.control.set_goal(self.target, role="source", epoch=2, confirmed_run=run,
                              upstream_host="", upstream_port=0)
        self.host.until(self.target, "it is master", lambda o: o["role"] == "master")

    def finish(self):
        self.host.applied(self.target)
        self.host.applied(self.source)
        self.host.until(self.source, "linked", lambda o: o.get("link_up") and not o.get("fenced"))

    def undo(self):
        self.control.set_goal(self.source, role="source", epoch=2, fenced=False,
                              upstream_host="", upstream_port=0)
        o = self.host.applied(self.source)
        assert o["role"] == "master" and not o.get("fenced")
        self.calm()
        return o


def test_a_handover_loses_no_write_and_copies_nothing_as_a_whole(host, control):
    source, target, _ = pair(host, 7400)
    host.until(target, "durable", lambda o: o.get("durable"))
    full = int(info(host, source, "sync_full"))
    writer = Writer(host.address, 7400)
    wait_for("writes", lambda: len(writer.acked) > 50)
    h = Handover(host, source, target)
    h.yields()
    host.until(source, "its clients are let go", lambda o: not o.get("fenced"))
    h.promote()
    h.finish()
    writer.stop()
    assert writer.refused[0].startswith("-READONLY")
    new = Redis(host.address, 7401)
    assert [n for n in writer.acked if new("GET", f"w:{n}") != str(n)] == []
    assert new("SET", "after", 1) == "OK"
    host.until(source, "the old one follows", lambda o: o["keys"] == 100 + len(writer.acked) + 1)
    assert int(info(host, target, "sync_full")) == 0
    assert int(info(host, source, "sync_full")) == full
    assert setting(host, source, "min-slaves-to-write") == "0"


def test_a_fence_stops_every_kind_of_write_and_is_put_back_by_an_undo(host, control):
    source, target, redis = pair(host, 7410)
    h = Handover(host, source, target)
    h.fence()
    held = [Redis(host.address, 7410) for _ in range(4)]
    words = (("SET", "a", 1), ("EVAL", "return redis.call('set','b',1)", 0), ("PUBLISH", "c", 1),
             ("INCR", "d"))
    for client, command in zip(held, words):
        client.sock.settimeout(15)
        client.send(*command)
    offset = control.seen(source)["offset"]
    assert setting(host, source, "min-slaves-to-write") == "0", "it would refuse what is to wait"
    assert int(info(host, source, "master_repl_offset")) == offset
    assert Redis(host.address, 7410)("GET", "key:1") == "1"  # reads go on
    o = h.undo()
    assert [c.read() for c in held] == ["OK", "OK", "0", "1"], "held, not refused"
    assert o["run_id"] == h.run and redis("GET", "b") == "1"
    assert setting(host, source, "min-slaves-to-write") == "0"
    assert redis("SET", "e", 1) == "OK"


def test_an_undo_after_the_yield_makes_it_master_again_with_everything(host, control):
    source, target, _ = pair(host, 7420)
    writer = Writer(host.address, 7420)
    wait_for("writes", lambda: len(writer.acked) > 20)
    h = Handover(host, source, target)
    h.yields()
    h.undo()
    writer.stop()
    redis = Redis(host.address, 7420)
    assert redis("SET", "after", 1) == "OK"
    assert [n for n in writer.acked if redis("GET", f"w:{n}") != str(n)] == []
    host.until(target, "it follows again", lambda o: o.get("link_up") and
               o["replid"] == control.seen(source)["replid"])


def test_figures_of_another_goal_move_nobody(host, control):
    """
    An undo comes while a look is under way, and beside it figures that would make the goal still
    in force yield: they are not that goal's.
    """
    source, target, _ = pair(host, 7430)
    h = Handover(host, source, target)
    h.fence()
    os.kill(host.pid(source), signal.SIGSTOP)
    with control.lock:
        control.watches[source] = {"instance": source, "watch": 900, "stream": True, "urgent": True,
                                   "peer": 1 << 40}
        control.watch_revision += 1
    control.set_goal(source, role="source", fenced=False, epoch=2, upstream_host="", upstream_port=0)
    wait_for("it has the undo", lambda: control.asked >= control.goals[source]["revision"])
    os.kill(host.pid(source), signal.SIGCONT)
    o = host.applied(source)
    assert o["role"] == "master" and not o.get("fenced")
    assert "act=yield" not in host.log_text()


def test_a_fence_ends_without_its_agent_and_is_begun_again_when_confirmed(host, control):
    """Nobody may wait for ever because an agent died: the source serves, it has everything."""
    source, target, redis = pair(host, 7440)
    h = Handover(host, source, target)
    h.fence()
    host.stop(signal.SIGKILL)
    control.close()
    redis.sock.settimeout(15)
    assert redis("SET", "a", 1) == "OK"
    host.start(wait=False)
    wait_for("it has looked", lambda: "server.ready" in host.log_text().split("agent.started")[-1])
    assert redis("SET", "b", 1) == "OK", "a goal from disk is not carried out"
    control.observations.clear()
    control.open()
    h.live()
    host.until(source, "fenced again", lambda o: o.get("fenced"))
    h.undo()
    assert redis("SET", "c", 1) == "OK"


def test_a_fence_that_nobody_takes_back_is_not_begun_anew(host, control):
    source, target, redis = pair(host, 7445)
    h = Handover(host, source, target)
    h.fence()
    redis.sock.settimeout(15)
    assert redis("SET", "a", 1) == "OK", "the pause ends by itself"
    host.until(source, "told so", lambda o: not o.get("fenced"))
    h.live(peer=1 << 40)
    host.until(source, "a look", lambda o: o.get("watch") == h.number)
    assert redis("SET", "b", 1) == "OK"
    assert host.log_text().count("act=fence") == 1
    assert control.seen(source)["role"] == "master", "its position was not read behind a fence"
    h.undo()


def test_a_fence_of_min_slaves_is_found_and_lifted(host, control):
    """As an agent leaves it behind on a server before 6.2."""
    source, target, redis = pair(host, 7455)
    host.stop(signal.SIGKILL)
    ask(host, source, "CONFIG", "SET", "min-slaves-to-write", "100000")
    host.start()
    host.applied(source)
    wait_for("lifted", lambda: setting(host, source, "min-slaves-to-write") == "0")
    assert redis("SET", "a", 1) == "OK"


def test_a_fence_from_disk_is_not_carried_out(host, control):
    """The goal was durable, the act was not begun: the control plane may have undone it since."""
    source, target, redis = pair(host, 7450)
    h = Handover(host, source, target)
    os.kill(host.pid(source), signal.SIGSTOP)
    control.set_goal(source, role="yielding", fenced=True, confirmed_run=h.run, start_at_once=False,
                     upstream_host=host.address, upstream_port=7451)
    wait_for("the goal is durable", lambda: durable_goal(host.path(source))["role"] == "yielding")
    host.stop(signal.SIGKILL)
    control.close()
    os.kill(host.pid(source), signal.SIGCONT)
    host.start(wait=False)
    wait_for("it has looked", lambda: "server.ready" in host.log_text().split("agent.started")[-1])
    assert redis("SET", "a", 1) == "OK"
    control.set_goal(source, role="source", fenced=False, epoch=2, upstream_host="",
                     upstream_port=0)
    control.open()
    host.applied(source)
    assert redis("SET", "b", 1) == "OK"
    assert "act=fence" not in host.log_text()


def test_settings_change_under_a_fence_without_lifting_it(host, control):
    source, target, _ = pair(host, 7460)
    h = Handover(host, source, target)
    h.fence()
    acts = host.log_text().count("act=config-set")
    control.set_goal(source, maxmemory=64 << 20, min_slaves=1, min_slaves_lag_s=1)
    wait_for("the new setting", lambda: setting(host, source, "maxmemory") == str(64 << 20))
    assert control.seen(source).get("fenced")
    h.undo()
    assert setting(host, source, "min-slaves-to-write") == "1"
    assert setting(host, source, "min-slaves-max-lag") == "1"
    assert host.log_text().count("act=config-set") == acts + 1, "one change, one act"


def test_a_sealed_member_keeps_its_offset_and_goes_on_without_a_copy(host, control):
    source, replica, redis = pair(host, 7470)
    host.until(replica, "durable", lambda o: o.get("durable"))
    control.set_goal(replica, role="sealed", upstream_host="", upstream_port=0)
    o = host.applied(replica)
    assert o["role"] == "replica" and o.get("upstream_port", 0) == 0 and o["keys"] == 100
    fill(redis, 120)
    assert int(info(host, replica, "slave_repl_offset")) == o["slave_offset"]
    assert Redis(host.address, 7471)("SET", "a", 1).startswith("-READONLY")
    assert "slaveof 127.0.0.1 0" in open(host.path(replica, "redis.conf")).read()
    full = int(info(host, source, "sync_full"))
    control.set_goal(replica, role="replica", upstream_host=host.address, upstream_port=7470)
    host.until(replica, "it has caught up", lambda x: x.get("link_up") and x["keys"] == 120)
    assert int(info(host, source, "sync_full")) == full
    # one that dies while it is sealed follows nobody either
    control.set_goal(replica, role="sealed", upstream_host="", upstream_port=0)
    old = host.applied(replica)["run_id"]
    os.kill(host.pid(replica), signal.SIGKILL)
    host.until(replica, "sealed in its next run", lambda x: x["proc"] == "running" and
               x["run_id"] not in ("", old) and x.get("upstream_port", 0) == 0 and
               x["role"] == "replica" and x.get("goal_applied"))


def test_clients_are_dropped_once(host, control):
    source, replica, _ = pair(host, 7480)
    normal, listener = Redis(host.address, 7481), Redis(host.address, 7481)
    assert normal("PING") == "PONG"
    listener.send("SUBSCRIBE", "c")
    assert listener.read() == "*3"  # the head of its confirmation
    run, dropped = control.seen(replica)["run_id"], lambda: host.log_text().count("act=drop-clients")
    control.set_goal(replica, drop_clients=True)
    o = host.applied(replica)
    assert normal.file.readline() == b""
    assert b"" in (listener.file.readline() for _ in range(9))
    assert o["run_id"] == run and o.get("link_up") and dropped() == 1
    again = Redis(host.address, 7481)
    control.set_goal(replica)  # another commit of its group
    host.applied(replica)
    assert again("PING") == "PONG" and dropped() == 1
    control.set_goal(replica, drop_clients=False)
    host.applied(replica)
    control.set_goal(replica, drop_clients=True)
    host.applied(replica)
    assert again.file.readline() == b"" and dropped() == 2


@pytest.mark.parametrize("before", ["told hung", "not noticed yet"])
def test_a_hung_server_that_is_to_be_fenced_is_killed(host, control, before):
    source, replica, _ = pair(host, 7490)
    pid, run = host.pid(source), control.seen(source)["run_id"]
    os.kill(pid, signal.SIGSTOP)
    if before == "told hung":
        host.until(source, "hung", lambda o: o["proc"] == "hung")
    began = time.monotonic()
    control.set_goal(source, role="guarded", kill_hung=True, epoch=2)
    o = host.until(source, "a guarded run", lambda o: waits(o) and o["run_id"] not in ("", run))
    assert o["keys"] == 100 and time.monotonic() - began < 8
    assert not os.path.exists(f"/proc/{pid}")
    print(f"killed and guarded in {time.monotonic() - began:.2f} s")


def test_a_detached_replica_has_no_replication_left(host, control):
    source, replica, _ = pair(host, 7500)
    host.until(replica, "durable", lambda o: o.get("durable"))
    run = control.seen(replica)["run_id"]
    control.set_goal(replica, role="source", epoch=2, group=str(uuid.uuid4()), confirmed_run=run,
                     start_at_once=True, upstream_host="", upstream_port=0)
    o = host.applied(replica)
    assert o["role"] == "master" and o["run_id"] == run and o["keys"] == 100
    assert setting(host, replica, "slaveof") == ""
    with open(host.path(replica, "redis.conf")) as f:
        names = [line.split()[0] for line in f if line.split()]
    assert "bind" in names and "slaveof" not in names and "replicaof" not in names
    assert Redis(host.address, 7501)("SET", "mine", 1) == "OK"
    os.kill(host.pid(replica), signal.SIGKILL)
    o = host.until(replica, "master again", lambda o: o["run_id"] not in ("", run) and
                   o["proc"] == "running" and o["role"] == "master")
    assert Redis(host.address, 7501)("GET", "mine") == "1"


def ejected(host, source, replica):
    """The source has died and is guarded; the replica is the source now, and was written to."""
    control = host.control
    run = control.seen(source)["run_id"]
    host.until(replica, "durable", lambda o: o.get("durable"))
    os.kill(host.pid(source), signal.SIGKILL)
    control.set_goal(source, role="guarded", kill_hung=True, epoch=2)
    o = host.until(source, "guarded", lambda o: waits(o) and o["run_id"] not in ("", run))
    control.set_goal(replica, role="source", epoch=2, start_at_once=False, upstream_host="",
                     upstream_port=0, confirmed_run=control.seen(replica)["run_id"])
    host.applied(replica)
    return o["run_id"]


def test_a_server_that_changes_its_group_gets_the_other_groups_passwords(host, control):
    source, replica, _ = pair(host, 7505)
    run = control.seen(replica)["run_id"]
    control.set_goal(source, secret_agent="b" * 40, secret_repl="c" * 40)
    assert host.applied(source)["run_id"] != run
    control.set_goal(replica, secret_agent="b" * 40, secret_repl="c" * 40)
    assert host.applied(replica)["run_id"] == run
    host.until(replica, "its link is up, by the new password", lambda o: o.get("link_up"))
    host.stop(signal.SIGKILL)  # the next agent knows the new ones only
    control.observations.clear()
    host.start()
    assert host.applied(replica)["run_id"] == run
    assert Redis(host.address, 7505)("SET", "a", 1) == "OK"
    host.until(replica, "it follows", lambda o: o["keys"] == 101)
    assert "b" * 40 not in host.log_text() and "c" * 40 not in host.log_text()


def save_rdb(host, instance):
    assert ask(host, instance, "BGSAVE")[0].startswith("Background")
    wait_for("its RDB", lambda: info(host, instance, "rdb_bgsave_in_progress") == "0" and
             os.path.exists(host.path(instance, "data", "dump.rdb")))


def test_an_ejected_source_comes_back_with_a_partial_resync_from_its_rdb(host, control):
    source, replica, redis = pair(host, 7510)
    save_rdb(host, source)
    fill(redis, 150)
    host.until(replica, "it has them", lambda o: o["keys"] == 150)
    run = ejected(host, source, replica)
    new = Redis(host.address, 7511)
    assert new("SET", "since", 1) == "OK"
    control.set_goal(source, role="replica", epoch=3, demote_accepted=True, confirmed_run=run,
                     kill_hung=False, upstream_host=host.address, upstream_port=7511)
    host.until(source, "it follows, with every key and its AOF", lambda o: o["role"] == "replica" and
               o.get("link_up") and o.get("aof") and o["keys"] == 151 and o.get("goal_applied"))
    assert int(info(host, replica, "sync_full")) == 0
    assert int(info(host, replica, "sync_partial_ok")) >= 1
    wait_for("the AOF that was set aside is gone", lambda: not os.path.exists(
        host.path(source, "data", "appendonlydir.old")))


def test_nothing_but_the_operators_word_gives_up_what_an_ejected_source_has(host, control):
    source, replica, redis = pair(host, 7515)
    save_rdb(host, source)
    assert redis("SET", "mine", 1) == "OK"
    run = ejected(host, source, replica)
    control.set_goal(source, role="replica", epoch=3, kill_hung=False, upstream_host=host.address,
                     upstream_port=7516)  # no word at all, then one for another run
    wait_for("goal taken", lambda: "role=replica" in host.log_text().split("goal.taken")[-1])
    control.set_goal(source, demote_accepted=True, confirmed_run="f" * 40)
    wait_for("goal taken", lambda: f"revision={control.goals[source]['revision']}" in host.log_text() or
             control.seen(source)["goal_revision"])
    seen = len(control.reports)
    wait_for("reports", lambda: len(control.reports) > seen + 2)
    o = control.seen(source)
    assert o["run_id"] == run and waits(o) and not o.get("goal_applied") and o["keys"] == 101
    assert os.path.isdir(host.path(source, "data", "appendonlydir"))


def test_a_guarded_server_that_is_stopped_keeps_the_rdb_it_may_rejoin_from(host, control):
    source, replica, redis = pair(host, 7518)
    save_rdb(host, source)
    ejected(host, source, replica)
    dump = host.path(source, "data", "dump.rdb")
    before = os.stat(dump).st_ino
    assert host.stop(signal.SIGUSR2) == 0
    assert os.stat(dump).st_ino == before
    control.observations.clear()
    host.start()
    assert host.until(source, "guarded again", waits)["keys"] == 100


def test_an_ejected_source_ahead_of_the_winner_is_copied_as_a_whole(host, control):
    """Its RDB holds writes the winner has not: the partial resync is refused, and they go."""
    source, replica, redis = pair(host, 7520)
    host.until(replica, "durable", lambda o: o.get("durable"))
    control.set_goal(replica, role="sealed", upstream_host="", upstream_port=0)
    host.applied(replica)
    assert redis("SET", "lost", 1) == "OK"
    save_rdb(host, source)
    run = ejected(host, source, replica)
    control.set_goal(source, role="replica", epoch=3, demote_accepted=True, confirmed_run=run,
                     kill_hung=False, upstream_host=host.address, upstream_port=7521)
    host.until(source, "it is a copy of the winner", lambda o: o["role"] == "replica" and
               o.get("link_up") and o.get("aof") and o["keys"] == 100 and o.get("goal_applied"))
    assert int(info(host, replica, "sync_full")) == 1


# X(act, the goal it is reached by): each is met on the way of one handover, one undo or one eject.
ROLE_ACTS = ["fence", "yield", "unfence", "drop-clients", "seal", "follow", "guard",
             "set-aside-aof", "aof-on"]


@pytest.mark.parametrize("act", ROLE_ACTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_an_act_of_a_role_changes_nothing_in_the_end(control, tmp_path, act, when):
    """Needs a build with -Dcrash_points=true; in another one no point is reached."""
    number = 60 + ROLE_ACTS.index(act) * 2 + (when == "after")
    host = Host(control, str(tmp_path), number)
    flag = str(tmp_path / "flag")
    env = {"TANIST_CRASH": f"act.{act}.{when}", "TANIST_CRASH_FLAG": flag}
    host.start()
    port = 7600 + 2 * number
    source, target, _ = pair(host, port)
    host.until(target, "durable", lambda o: o.get("durable"))
    host.stop()
    control.observations.clear()
    host.start(env=env)
    over = threading.Event()

    def keep_running():
        while not over.is_set():
            if host.agent.poll() is not None and not over.is_set():
                host.start(wait=False, env=env)
            time.sleep(0.02)
    keeper = threading.Thread(target=keep_running)
    keeper.start()
    try:
        host.applied(source)
        host.applied(target)
        writer = Writer(host.address, port)
        wait_for("writes", lambda: len(writer.acked) > 20)
        h = Handover(host, source, target)
        h.yields()
        h.promote()
        h.finish()
        control.set_goal(source, drop_clients=True)
        host.applied(source)
        writer.over = True
        control.set_goal(source, drop_clients=False, role="sealed", upstream_host="", upstream_port=0)
        o = host.applied(source)
        assert o.get("upstream_port", 0) == 0
        control.set_goal(source, role="replica", upstream_host=host.address, upstream_port=port + 1)
        host.applied(source)
        control.set_goal(source, role="guarded", upstream_host="", upstream_port=0)
        host.applied(source)
        h.calm()
        os.kill(host.pid(source), signal.SIGKILL)
        run = host.until(source, "guarded", lambda x: waits(x) and x["run_id"] not in ("", o["run_id"]))
        control.set_goal(source, role="replica", epoch=3, demote_accepted=True, upstream_port=port + 1,
                         confirmed_run=run["run_id"], upstream_host=host.address)
        host.until(source, "it follows with its AOF", lambda x: x.get("link_up") and x.get("aof") and
                   x.get("goal_applied"))
        new = Redis(host.address, port + 1)
        assert [n for n in writer.acked if new("GET", f"w:{n}") != str(n)] == []
        assert setting(host, source, "min-slaves-to-write") == "0"
    finally:
        over.set()
        keeper.join()
        host.end()
    assert "Sanitizer" not in host.log_text() and "runtime error" not in host.log_text()
    if subprocess.run([AGENT, "--crash-points"], capture_output=True).returncode == 0:
        assert os.path.exists(flag), "the point was never reached"
