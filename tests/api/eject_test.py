"""Eject on real servers: the source is gone, and the replica that holds most of its data takes over
with every byte that any of them had received (DESIGN.md 5, REDIS.md 4a).
"""
import os
import shutil
import signal
import subprocess
import tempfile
import time

import pytest
import redis

from groups import Group, kinds, last_event, port, send, stopped
from harness import BUILD, AddressRange, Dev, attempt, servers_below, wait_until
from writers import Writers, by_wait, discover

#: The agent leaves a dead server alone for so long: the test decides, not the restart.
STAYS_DOWN = "agent.restart_delay=60000"


@pytest.fixture()
def dev():
    with Dev(discovery=True, settings=[STAYS_DOWN]) as d:
        yield d


@pytest.fixture()
def quick_dev():
    """A dead server is started again, after the eject."""
    with Dev(discovery=True, settings=["agent.restart_delay=1500"]) as d:
        yield d


def ask_until_taken(g, source, limit=20, **body):
    """Asks for the eject until the source is known to be gone. Nothing else may be refused."""
    def asked():
        status, message = g.dev.ask(source, "eject_replica_source", **body)
        assert status in (202, 400), (status, message)
        return status == 202
    wait_until("the eject is accepted", asked, limit, every=0.005)


def eject(g, source, limit=60, **body):
    """Ejects it, to the end; returns the new source. The ejected one is a member no more."""
    witness = [m for m in g.members if m is not source][0]
    before = g.dev.look(witness).get("last_operation")
    ask_until_taken(g, source, **body)
    last = g.dev.outcome(witness, before, limit)
    assert last["done"] and last["operation"] == "eject", f"{last}\n{g.story()}"
    g.members.remove(source)
    return g.source()


def attach(g, instance, source):
    """An ejected one becomes a replica of the group again, as soon as its server is back: what it
    has is given up of the run that is seen."""
    def asked():
        status, message = g.dev.ask(instance, "attach", replica_of=source["id"])
        assert status in (202, 422), (status, message)
        return status == 202
    wait_until("the attach is accepted", asked, 20, every=0.05)
    g.members.append(instance)
    g.settle()


def copies_served(g):
    return {m["name"]: g.dev.redis(m).info("stats")["sync_full"] for m in g.members}


# Who is chosen.

@pytest.mark.parametrize("late", [0, 1], ids=["the first is late", "the second is late"])
def test_the_highest_offset_wins(late):
    """One replica stands still while 20 MB are written: far more than sockets hold."""
    with Dev(discovery=True, settings=[STAYS_DOWN, "replication.backlog_bytes=67108864"]) as d:
        g = Group(d, replicas=3)
        source, held = g.members[0], g.members[1 + late]
        good = [m for m in g.members[1:] if m is not held]
        with stopped(d.pid(held)):
            with d.redis(source).pipeline(transaction=False) as p:
                for i in range(200):
                    p.set(f"k{i}", f"{i}:".ljust(100_000, "x"))
                p.execute()
            at = g.offset(source)
            for m in good:
                wait_until("the others have it all", lambda m=m: g.offset(m) >= at)
            g.kill(source)
        wait_until("the late one has lost its link", lambda: attempt(
            lambda: g.replication(held)["master_link_status"] == "down"))
        offsets = {m["id"]: g.offset(m) for m in g.members[1:]}
        assert offsets[held["id"]] + 5_000_000 < min(offsets[m["id"]] for m in good), offsets
        before = {m["id"]: d.redis(m).info("stats")["sync_full"] for m in g.members[1:]}

        def foretold():
            found = d.api.get(f"/instances/{held['id']}/election")["election"]
            return {c["id"]: c["offset"] for c in found["candidates"]} == offsets and found
        election = wait_until("the agent has told of the lost links", foretold, 10)
        winner = eject(g, source)
        assert winner in good and election["winner"] == winner["id"], election
        g.settle()
        g.wait_copied()
        for m in g.members:
            assert g.has_all(m, 200, size=100_000)
        # The others go on where they were: nobody makes a full copy.
        assert {m["id"]: d.redis(m).info("stats")["sync_full"] for m in g.members} == before
        text = str([e for e in d.events() if e["event"].startswith("eject.")])
        assert all(str(o) in text for o in offsets.values()), text


def test_a_busy_replica_loses_nothing_that_it_had_received(dev):
    """It stands still with a full socket when its source dies: promoted at once it would keep a
    part of it (REDIS.md M24); it is waited for."""
    g = Group(dev, replicas=1)
    source, busy = g.members
    pid = dev.pid(busy)
    with stopped(pid):
        with dev.redis(source).pipeline(transaction=False) as p:
            for i in range(2500):
                p.set(f"k{i}", f"{i}:".ljust(60, "x"))
            p.execute()
        # All of it has left the source when it waits for nothing but to read.
        wait_until("it is in the socket", lambda: "events=r " in dev.redis(source).execute_command(
            "CLIENT LIST TYPE replica"))
        wanted = g.offset(source)
        g.kill(source)
        before = dev.look(busy).get("last_operation")
        ask_until_taken(g, source)
        wait_until("it is waited for", lambda: (dev.look(busy).get("operation") or {}).get(
            "phase") == "eject-drain")
    last = dev.outcome(busy, before)
    assert last["done"], last
    g.members.remove(source)
    assert g.settle() is busy
    assert g.has_all(busy, 2500, size=60)
    assert g.offset(busy) >= wanted


def test_what_an_election_would_say_changes_nothing(dev):
    g = Group(dev)
    g.fill(100)
    before = [dev.look(m)["epoch"] for m in g.members], len(dev.events()), g.settings()
    election = dev.api.get(f"/instances/{g.members[0]['id']}/election")["election"]
    assert election["verdict"] == "winner" and election["loss_bytes"] in (0, None), election
    assert {c["id"] for c in election["candidates"]} == {m["id"] for m in g.members[1:]}
    assert all(c["eligible"] for c in election["candidates"])
    assert election["reason"]
    assert ([dev.look(m)["epoch"] for m in g.members], len(dev.events()), g.settings()) == before


# When it is refused.

def test_refused_while_the_source_lives(dev):
    g = Group(dev)
    shown, settings = dev.instances(), g.settings()
    status, message = dev.ask(g.members[0], "eject_replica_source")
    assert status == 400, (status, message)
    # The evidence: who says so, and of what.
    assert "sessions" in message or g.members[0]["id"] in message, message
    status, accepted = dev.ask(g.members[0], "eject_replica_source", accept_data_loss=True)
    assert status == 400, (status, accepted)
    assert [i["status"] for i in dev.instances()] == [i["status"] for i in shown]
    assert g.settings() == settings and "eject.started" not in kinds(dev)
    assert g.is_settled()


class FarHost:
    """A second host: an agent of its own on a folder and on one address of its own."""

    def __init__(self, dev):
        self.dev = dev
        self.own = tempfile.TemporaryDirectory(prefix="tanist-far-")
        self.dir = os.path.join(self.own.name, "agent")
        self.range = AddressRange()
        self.log = open(self.dir + ".log", "ab")
        self.start(STAYS_DOWN)

    def start(self, *more):
        words = [os.path.join(BUILD, "tanist-agent"), "--dir", self.dir, "--server",
                 "http://" + self.dev.api.host, "--token-file",
                 os.path.join(self.dev.dir, "tanistd", "agent.token")]
        first = str(self.range).split("-", maxsplit=1)[0]
        for setting in ("agent.name=far", f"agent.addresses={first}-{first}", *more):
            words += ["--set", setting]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=self.log)

    def kill_agent(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill_agent()
        for pid in servers_below(self.dir):
            send(pid, signal.SIGKILL)
        self.log.close()
        self.range.close()
        self.own.cleanup()


@pytest.fixture()
def far_source():
    """A group whose source is alone on the far host."""
    with Dev(discovery=True, settings=["agent.silent_after=1"]) as d:
        d.create("near")  # so that the far one has fewer
        host = FarHost(d)
        try:
            wait_until("the far host has joined", lambda: kinds(d).count("host.joined") == 2)
            g = Group(d)
            assert [d.look(m)["host"] == "far" for m in g.members] == [True, False, False]
            yield d, g, host
        finally:
            host.close()


def own_settings(g):
    """Of the members whose agent's folder is ours."""
    return {m["name"]: g.dev.agent_redis(m).config_get("*") for m in g.members[1:]}


def test_refused_while_a_source_without_its_agent_answers(far_source):
    """The agent is silent, which is no death: the server is asked, and its replicas are."""
    d, g, host = far_source
    host.kill_agent()
    wait_until("the host is silent",
               lambda: d.look(g.members[0])["operating_status"] == "ERROR", 20)
    with Writers(d, g.name, count=1) as w:
        for accept in (False, True):
            status, message = d.ask(g.members[0], "eject_replica_source", accept_data_loss=accept)
            assert status in (400, 422) and message, (status, message)
        w.goes_on()
    assert "eject.started" not in kinds(d)
    host.start()
    wait_until("it is heard again",
               lambda: d.look(g.members[0])["operating_status"] == "HEALTHY", 20)
    w.verify(g.members[0], g.members[1:])


def test_a_lost_host_needs_the_operators_word(far_source):
    """Neither the agent nor the server answers: without durability nobody knows that it is dead."""
    d, g, host = far_source
    g.fill(100)
    source = g.members[0]
    pid = d.pid(source)
    host.kill_agent()
    send(pid, signal.SIGKILL)
    wait_until("the host is silent", lambda: d.look(source)["operating_status"] == "ERROR", 20)
    wait_until("the replicas have lost it", lambda: attempt(lambda: all(
        g.replication(m)["master_link_status"] == "down" for m in g.members[1:])), 20)

    def refused():
        status, message = d.ask(source, "eject_replica_source")
        assert status in (400, 422), (status, message)
        return status == 422 and message
    message = wait_until("it is refused for want of a proof", refused, 20, every=0.1)
    assert "accept_data_loss" in message or "accept-data-loss" in message, message
    assert "eject.started" not in kinds(d)
    winner = eject(g, source, accept_data_loss=True)
    g.settle()
    assert g.has_all(winner, 100)
    # Its host comes back: it takes no write, whoever asks.
    host.start()
    wait_until("its server is back", lambda: attempt(
        lambda: d.redis(source).info("replication")["role"]))
    wait_until("it is known to be fenced", lambda: d.look(source)["status"] == "BLOCKED", 20)
    with pytest.raises(redis.exceptions.ReadOnlyError):
        d.redis(source).set("stray", "write")


# While it runs.

def test_a_second_eject_is_the_same_one(dev):
    g = Group(dev)
    source, busy = g.members[0], g.members[1]
    with stopped(dev.pid(busy)):
        g.kill(source)
        before = dev.look(busy).get("last_operation")
        ask_until_taken(g, source)
        shown = dev.look(g.members[2])
        assert shown["status"] == "EJECT" and shown["operation"]["operation"] == "eject", shown
        status, message = dev.ask(source, "eject_replica_source")
        assert status == 202, (status, message)
        assert dev.look(g.members[2])["operation"]["id"] == shown["operation"]["id"]
        status, message = dev.ask(busy, "promote_to_replica_source")
        assert status == 422 and "eject" in message, (status, message)
    assert dev.outcome(busy, before)["done"]
    assert kinds(dev).count("eject.started") == kinds(dev).count("source.changed") == 1
    g.members.remove(source)
    g.settle()


def test_an_eject_replaces_a_handover(dev):
    """A handover that waits, and its source dies: the eject does not wait for it to give up."""
    g = Group(dev)
    g.fill(1000)
    source, target = g.members[0], g.members[1]
    client = dev.agent_redis(target)
    client.config_set("rdb-key-save-delay", 20_000)  # its AOF takes long: the handover waits
    client.config_set("appendonly", "no")
    client.config_set("appendonly", "yes")
    wait_until("the rewrite runs", lambda: dev.redis(target).info("persistence")[
        "aof_rewrite_in_progress"] == 1)
    status, message = dev.ask(target, "promote_to_replica_source")
    assert status == 202, message
    wait_until("it waits for its target", lambda: (dev.look(target).get("operation") or {}).get(
        "phase") == "handover-stage")
    g.kill(source)

    def ejected():
        attempt(lambda: dev.ask(source, "eject_replica_source"))
        return "source.changed" in kinds(dev)
    wait_until("it is ejected all the same", ejected, 30)
    wait_until("it has ended", lambda: not dev.look(target).get("operation"), 40)
    g.members.remove(source)
    g.settle()
    assert all(g.has_all(m, 1000) for m in g.members)
    assert dev.look(source)["status"] == "BLOCKED"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_one_unreachable_replica_stops_nothing(how):
    with Dev(discovery=True, settings=[STAYS_DOWN, "replication.drain_limit=1",
                                       "replication.seal_limit=1"]) as d:
        g = Group(d, replicas=3)
        g.fill(100)
        source, away = g.members[:2]
        pid = d.pid(away)
        os.kill(pid, signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
        try:
            g.kill(source)
            others = g.members[2:]
            before = d.look(others[0]).get("last_operation")
            ask_until_taken(g, source)
            wait_until("one of the others is the source", lambda: discover(
                d.discovery_port, g.name) in [(m["ip"][0], port(m)) for m in others], 20)
            wait_until("it takes writes", lambda: attempt(
                lambda: d.redis(pick(d, others)).set("after", "eject")), 20)
        finally:
            send(pid, signal.SIGCONT)
        assert d.outcome(others[0], before)["done"]
        g.members.remove(source)
        if how == "killed":
            d.stop()  # the servers that were left alone are started with the others
            d.settings = []
            d.start()
        g.settle(60)
        assert all(g.has_all(m, 100) and d.redis(m).get("after") == "eject" for m in g.members)


def pick(d, members):
    """The one that discovery names."""
    address = discover(d.discovery_port, "sessions")
    return {(m["ip"][0], port(m)): m for m in members}[address]


def test_a_hung_source_is_killed_first(dev):
    """It would wake up and go on taking writes."""
    g = Group(dev)
    with Writers(dev, g.name, count=2) as w:
        source = g.members[0]
        pid = dev.pid(source)
        os.kill(pid, signal.SIGSTOP)
        try:
            status, message = dev.ask(source, "eject_replica_source")
            assert status in (202, 400)  # it may be known to hang already
            eject(g, source, 30) if status == 400 else wait_until(
                "it is ejected", lambda: "eject.done" in kinds(dev), 30)
            assert pid not in dev.server_pids(), "it is there yet, and would take writes"
        finally:
            send(pid, signal.SIGCONT)
        if source in g.members:
            g.members.remove(source)
        w.goes_on()
        g.settle()
    assert dev.look(source)["status"] == "BLOCKED"


# What WAIT promises.

def kills_in_a_row(d, rounds):
    """Kills the source and ejects it; a new replica takes its place. Two sealed, one copy, two
    replicas: S + k > R, so what WAIT 1 confirmed is on the new source each time."""
    g = Group(d)
    with Writers(d, g.name, count=2, write=by_wait(1), rate=200) as w:
        for n in range(rounds):
            source = g.source()
            w.goes_on()
            promised = [dict(t.acknowledged) for t in w.threads]
            g.kill(source)
            winner = eject(g, source)
            client = d.redis(winner)
            for key, value in [kv for p in promised for kv in list(p.items())[-200:]]:
                found = client.get(key)
                assert found == value or key.endswith(":newest"), (n, key, value, found)
            w.goes_on()
            d.tanist("delete", source["id"])
            g.members += d.replicas(winner["id"], 1, f"new-{n}")
    g.settle()
    w.verify(g.source(), g.replicas())
    return w.acknowledged()


def test_what_wait_confirmed_is_there_after_twenty_kills(dev, record_property):
    count = kills_in_a_row(dev, 20)
    record_property("told", f"20 kills and ejects in a row: {count} writes confirmed by WAIT 1 "
                    "with two replicas, none lost")


# Where nobody can be chosen without a loss.

@pytest.fixture()
def held():
    """bounded(1), two replicas, one of them away: a write that only it confirmed may be lost."""
    with Dev(discovery=True, settings=[STAYS_DOWN, "replication.drain_limit=1",
                                       "replication.seal_limit=1", "agent.stop_limit=2"]) as d:
        g = Group(d)
        status, _ = d.api.call("POST", f"/instances/{g.members[0]['id']}/action",
                               {"durability": "bounded(1)"})
        assert status == 200
        # Until then no election counts on it, however many replicas there are.
        wait_until("the durability is proven", lambda: any(
            e["event"] == "durability.changed" and "proven=1" in e["figures"]
            for e in d.events()))
        with Writers(d, g.name, count=1, write=by_wait(2), rate=50) as w:
            w.goes_on()
        source, away, other = g.members
        pid = d.pid(away)
        os.kill(pid, signal.SIGSTOP)
        try:
            g.kill(source)
            ask_until_taken(g, source)
            wait_until("nobody is elected", lambda: "eject.held" in kinds(d), 30)
            shown = d.look(source)
            assert shown["status"] == "ERROR", shown
            text = shown["fault"]["message"]
            assert away["name"] in text or "sealed" in text, text
            # The others hold still: read-only, and following nobody.
            with pytest.raises(redis.exceptions.ReadOnlyError):
                d.redis(other).set("stray", "write")
            yield d, g, w, pid
        finally:
            send(pid, signal.SIGCONT)


def test_held_until_the_missing_one_returns(held):
    d, g, w, pid = held
    before = d.look(g.members[1]).get("last_operation")
    send(pid, signal.SIGCONT)
    last = d.outcome(g.members[1], before, 30)
    assert last["done"], last
    g.members.pop(0)
    w.verify(g.settle(), g.replicas())


def test_held_until_the_operator_accepts(held):
    d, g, w, pid = held
    source, away, other = g.members
    status, message = d.ask(source, "eject_replica_source", accept_data_loss=True)
    assert status == 202, (status, message)
    wait_until("the other one is elected", lambda: d.look(other)["id"] == d.source_of(other), 20)
    send(pid, signal.SIGCONT)
    wait_until("it is done", lambda: "eject.done" in kinds(d), 40)
    g.members.remove(source)
    assert g.settle() is other
    w.verify(other, [away])


def test_held_until_it_is_cancelled(held):
    """Then the source is to go on, and its members follow it again."""
    d, g, w, pid = held
    status, message = d.ask(g.members[2], "cancel")
    assert status == 202, (status, message)
    wait_until("it is undone", lambda: "eject.undone" in kinds(d), 20)
    send(pid, signal.SIGCONT)
    d.stop()  # that the dead one is started again
    d.settings = []
    d.start()
    assert g.settle(60) is g.members[0]
    w.verify(g.members[0], g.members[1:])


def test_held_until_the_source_returns(held):
    d, g, w, pid = held
    d.stop()
    send(pid, signal.SIGCONT)
    d.settings = []
    d.start()
    # Whoever is there first decides: the source that goes on, or the election of all.
    wait_until("it has ended", lambda: not d.look(g.members[2]).get("operation") and
               {"eject.undone", "eject.done"} & set(kinds(d)), 60)
    if d.look(g.members[0])["status"] == "BLOCKED":
        g.members.pop(0)
    w.verify(g.settle(60), g.replicas())


# The one that was ejected.

def ejected_group(d):
    g = Group(d)
    g.fill(300)
    source = g.members[0]
    dead = dict(source)
    g.kill(source)
    eject(g, source)
    g.settle()
    return g, dead


def test_the_ejected_one_is_fenced_wherever_one_looks():
    with Dev(discovery=True, settings=["agent.restart_delay=1000"]) as d:
        g, dead = ejected_group(d)
        wait_until("its server is back", lambda: attempt(lambda: d.pid(dead)), 20)
        shown = wait_until("it is BLOCKED", lambda: (lambda i: i if i["status"] == "BLOCKED"
                                                     else None)(d.look(dead)))
        text = shown["fault"]["message"]
        assert "ejected at epoch" in text and "attach" in text and "delet" in text, text
        with pytest.raises(redis.exceptions.ReadOnlyError):
            d.redis(dead).set("stray", "write")
        # Killed and started again, with the control plane and the agent, it is as fenced.
        d.kill()
        send(d.pid(dead), signal.SIGKILL)
        d.start()
        wait_until("its server is back", lambda: attempt(lambda: d.pid(dead)), 20)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            with pytest.raises(redis.RedisError):
                d.redis(dead).set("stray", "write")
            time.sleep(0.05)
        # Discovery: the group's name leads to the new source, and nothing leads to the old one.
        winner = g.source()
        here = (dead["ip"][0], port(dead))
        assert discover(d.discovery_port, g.name) == (winner["ip"][0], port(winner))
        for name in (dead["id"], d.look(dead)["group_id"], d.look(dead)["group"]):
            assert discover(d.discovery_port, name) != here
        # It cannot be promoted, ejected, detached or given replicas: only attached or deleted.
        for action in ("promote_to_replica_source", "eject_replica_source"):
            status, message = d.ask(dead, action)
            assert status in (400, 422), (action, status, message)
        status, _ = d.api.call("POST", "/instances", {"instance": {
            "name": "copy", "replica_of": dead["id"]}})
        assert status in (400, 422)
        # Its files are there until the user deletes it.
        assert os.listdir(os.path.join(d.folder(dead), "data"))
        d.tanist("delete", dead["id"], "--wait")
        assert not os.path.exists(d.folder(dead))
        assert g.is_settled() and all(g.has_all(m, 300) for m in g.members)


def test_the_ejected_one_is_attached_and_goes_on_where_it_was():
    """Its RDB is of the group: it makes no full copy."""
    with Dev(discovery=True, settings=["agent.restart_delay=1000"]) as d:
        g = Group(d)
        g.fill(300)
        source = g.members[0]
        d.agent_redis(source).execute_command("BGSAVE")
        wait_until("its RDB is written", lambda: d.redis(source).info("persistence")[
            "rdb_bgsave_in_progress"] == 0 and d.redis(source).info("persistence")[
            "rdb_changes_since_last_save"] == 0)
        g.kill(source)
        winner = eject(g, source)
        g.settle()
        before = copies_served(g)
        wait_until("its server is back", lambda: attempt(lambda: d.pid(source)), 20)
        attach(g, source, winner)
        assert g.source() is winner
        assert g.has_all(source, 300)
        assert copies_served(g) | {source["name"]: 0} == before | {source["name"]: 0}
        assert d.look(source)["group"] == g.name


def test_what_only_the_ejected_one_had_is_given_up_when_it_is_attached(quick_dev):
    """Replicas that stand still do not get the last writes; the old source has them in its AOF.
    Attached, it is a copy like any other."""
    dev = quick_dev
    g = Group(dev)
    g.fill(100)
    source = g.members[0]
    with stopped(*[dev.pid(m) for m in g.members[1:]]):
        # More than the sockets hold.
        with dev.redis(source).pipeline(transaction=False) as p:
            for i in range(300):
                p.set(f"only{i}", "x" * 100_000)
            p.execute()
        g.kill(source)
    winner = eject(g, source)
    g.settle()
    assert not dev.redis(winner).exists("only299")
    # Its files say what it was: they are kept until the user decides.
    assert os.listdir(os.path.join(dev.folder(source), "data"))
    attach(g, source, winner)
    assert dev.redis(source).dbsize() == dev.redis(winner).dbsize()
    assert g.has_all(source, 100)


# A source that is there, and yet is not.

def test_eject_of_a_held_source():
    """Restarted without its data it is held; the replicas have them, and one takes over."""
    with Dev(discovery=True, settings=["agent.restart_delay=1500"]) as d:
        g = Group(d)
        g.fill(300)
        source = g.members[0]
        g.kill(source)
        data = os.path.join(d.folder(source), "data")
        shutil.rmtree(data)
        os.mkdir(data)
        shown = d.wait_status(source["id"], "ERROR")
        assert "eject" in shown["fault"]["message"], shown
        winner = eject(g, source)
        g.settle()
        assert all(g.has_all(m, 300) for m in g.members)
        attach(g, source, winner)
        assert g.has_all(source, 300)
        assert "eject.done" in kinds(d) and last_event(d, "source.changed")


def test_eject_wins_over_the_restart():
    """Asked for again and again while the agent starts the dead source at once: either the source
    goes on and it is refused, or it is ejected. Never both, and no key is lost either way."""
    with Dev(discovery=True) as d:
        g = Group(d)
        g.fill(200)
        ejects = 0
        for n in range(5):
            source = g.source()
            g.fill(10, first=200 + 10 * n)
            g.wait_durable()
            # A server that was just started gives its stream another name with its first replica.
            wait_until("the stream is known", lambda: d.api.get(
                f"/instances/{source['id']}/election")["election"]["verdict"] == "winner")
            witness = g.replicas()[0]
            before = d.look(witness).get("last_operation")
            g.kill(source)
            taken = False
            for _ in range(50):
                status, message = d.ask(source, "eject_replica_source")
                assert status in (202, 400, 422), (status, message)
                if status == 202:
                    taken = True
                    break
            if taken:
                last = d.outcome(witness, before)
                assert last["operation"] == "eject" and last["done"], f"{last}\n{g.story()}"
                ejects += 1
                g.members.remove(source)
                winner = g.settle()
                assert d.look(source)["status"] == "BLOCKED"
                attach(g, source, winner)
            g.settle()
            assert all(g.has_all(m, 210 + 10 * n) for m in g.members)
        assert ejects, "the source was never seen to be dead"
