"""Handover on real servers, under writers that never send anything twice: what was acknowledged is
there afterwards, nobody makes a full copy, and one that cannot succeed leaves everything as it was
(DESIGN.md 5, REDIS.md 4d).
"""
import contextlib
import os
import random
import re
import signal
import sqlite3
import time

import pytest
import redis

from groups import Group, begin_replica, kinds, stopped, store_held_up_ms
from harness import Crash, Dev, attempt, wait_until
from writers import Writers, by_eval, by_multi, by_pipeline, by_publish, by_set, by_wait

UNDO_LIMIT = 3.0  # of DESIGN.md: fence to the undo's commit


@pytest.fixture()
def dev():
    with Dev(discovery=True) as d:
        yield d


@pytest.fixture()
def crash():
    c = Crash()
    yield c
    c.close()


@pytest.fixture()
def stoppable(crash):
    """A dev whose programs stop where `crash` says."""
    with Dev(discovery=True, env=crash.env) as d:
        yield d
        crash.go_on()


def milliseconds(gaps, share):
    """The gap that this share of all is not above."""
    return round(1000 * sorted(gaps)[min(len(gaps) - 1, int(len(gaps) * share))], 1)


def at(event):
    return event["at_ms"] / 1000


def test_the_writers_see_what_is_lost(dev):
    """What all the others stand on: a key that is gone, changed or of an older value is found."""
    g = Group(dev, replicas=1)
    with Writers(dev, g.name, count=2) as w:
        wait_until("some are written", lambda: w.acknowledged() > 100)
    w.verify(g.source(), g.replicas())
    client, promised = dev.redis(g.source()), w.promised()
    newest = [k for k in promised if k.endswith(":newest")][0]
    for key, value in ((newest, "0:".ljust(8, "v")), (max(promised), "wrong"),
                       (min(promised), None)):
        client.set(key, value) if value else client.delete(key)
        assert [k for k, _, _ in w.missing(g.source())] == [key]
        client.set(key, promised[key])
    assert not w.missing(g.source())


# It is done.

def test_fifty_in_a_row_lose_nothing(dev, record_property):
    """Four clients write 250 times a second each, the source goes round among three servers."""
    g = Group(dev)
    copies = g.full_copies()
    with Writers(dev, g.name, count=4, rate=250) as w:
        for n in range(50):
            target = g.members[(n + 1) % 3]
            dev.promote(target)
            assert g.source() is target
            w.goes_on()
    g.settle()
    w.verify(g.source(), g.replicas())
    assert g.full_copies() == copies, "somebody copied everything, or was started again"
    assert dev.look(g.source())["epoch"] == 51
    assert kinds(dev).count("handover.done") == 50
    longest = [max(b - a for a, b in zip(t.times, t.times[1:])) for t in w.threads]
    record_property("told", f"50 handovers under {w.acknowledged()} acknowledged writes: none "
                    f"lost, longest pause of a writer {milliseconds(longest, 1)} ms, refused "
                    f"{w.refusals()}")


def test_scripts_transactions_and_messages(dev, record_property):
    """What does not stop at min-slaves-to-write on its own: EVAL, EXEC queued before, PUBLISH."""
    g = Group(dev)
    copies = g.full_copies()
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Writers(dev, g.name, count=2, names=how.__name__, write=how,
                                             batch=4 if how is by_multi else 1))
                 for how in (by_set, by_eval, by_multi, by_publish)]
        for n in range(12):
            dev.promote(g.members[(n + 1) % 3])
            for w in loads:
                w.goes_on()
    g.settle()
    for w in loads:
        w.verify(g.source(), g.replicas())
    assert g.full_copies() == copies
    record_property("told", "12 handovers under EVAL, MULTI, PUBLISH and SET: "
                    f"{sum(w.acknowledged() for w in loads)} acknowledged writes, none lost")


def test_writes_under_wait_in_a_bounded_group(dev):
    """min-slaves-to-write 1 stands all the time, and the writers wait for one replica each."""
    g = Group(dev)
    status, body = dev.api.call("POST", f"/instances/{g.members[0]['id']}/action",
                                {"durability": "bounded(1)"})
    assert (status, body["durability"]["durability"]) == (200, "bounded(1)")
    with Writers(dev, g.name, count=2, write=by_wait(1), rate=100) as w:
        for n in range(6):
            dev.promote(g.members[(n + 1) % 3])
            w.goes_on()
            # The source of now has the setting, whichever it is.
            wait_until("the new source wants a replica", lambda: dev.agent_redis(
                g.source()).config_get("min-slaves-to-write")["min-slaves-to-write"] == "1", 10)
    g.settle()
    w.verify(g.source(), g.replicas())


def test_a_loaded_source(dev, record_property):
    """100 MB, 20,000 writes a second in pipelines. Each round is done, or undone and says how far
    behind the target was; neither loses anything."""
    g = Group(dev)
    g.fill(1000, size=100_000)
    done, behind = 0, []
    with Writers(dev, g.name, count=2, write=by_pipeline, rate=10_000, batch=200, size=64) as w:
        for n in range(6):
            target = g.members[(n + 1) % 3]
            before = g.source()
            last = dev.begin(target, "promote_to_replica_source")()
            if last["done"]:
                done += 1
                assert g.source()["id"] == target["id"]
            else:
                assert re.search(r"\d+ bytes", last["reason"]), last
                behind.append(last["reason"])
                assert g.source()["id"] == before["id"]
            w.goes_on()
    g.settle()
    w.verify(g.source(), g.replicas())
    assert all(g.has_all(m, 1000, size=100_000) for m in g.members)
    # Nothing is wrong with the targets here: that none of the rounds is done would be a defect.
    assert done, behind
    record_property("told", f"loaded source: {done} of 6 handovers done, {len(behind)} undone, "
                    f"{w.acknowledged()} acknowledged writes, none lost")


def test_clients_of_the_old_source_are_dropped_last(dev):
    """A client that stays connected to it looks again; it is dropped when all others are linked."""
    g = Group(dev)
    old = dev.redis(g.source(), single_connection_client=True)
    mine = old.client_id()
    target = g.members[1]
    dev.promote(target)
    g.settle()
    # redis-py connects again by itself: the id tells that it had to.
    assert attempt(lambda: old.client_id()) != mine
    with pytest.raises(redis.exceptions.ReadOnlyError):
        dev.redis(g.members[0]).set("x", "y")
    # And the new source kept whoever was there.
    assert dev.redis(target).set("x", "y")


# Refused: nothing is changed.

def everything(g):
    """All that a refused request could have changed."""
    shown = [{k: v for k, v in i.items() if k not in ("lag_bytes", "volume")}
             for i in g.dev.instances()]
    return shown, g.settings(), g.full_copies(), len(g.dev.events())


def test_refused_ones_change_nothing(dev):
    g = Group(dev)
    other = dev.create("other")
    before = everything(g)
    source, replica = g.members[0], g.members[1]

    def refused(instance, action, status, words=(), **body):
        got, message = dev.ask(instance, action, **body)
        assert got == status, (action, got, message)
        for word in words:
            assert word in message, message

    refused(source, "promote_to_replica_source", 400, ["not a replica"])
    refused(other, "promote_to_replica_source", 400, ["not a replica"])
    refused({"id": "00000000-0000-4000-8000-000000000000"}, "promote_to_replica_source", 404)
    refused(replica, "eject_replica_source", 400)
    refused(other, "eject_replica_source", 400)
    refused(replica, "cancel", 422)
    refused(replica, "attach", 422, replica_of=other["id"])
    assert everything(g) == before
    # Neither does one of a replica whose server is gone.
    with stopped(dev.pid(replica)):
        wait_until("it is seen to hang",
                   lambda: dev.look(replica)["operating_status"] == "BLOCKED", 20)
        status, message = dev.ask(replica, "promote_to_replica_source")
        if status == 202:  # then the check refused it
            last = dev.outcome(replica, None)
            assert not last["done"] and last["reason"], last
    g.settle()
    assert g.settings() == before[1] and g.source() is source
    assert g.full_copies() == before[2]


def slow_rewrite(g, instance):
    """Its AOF is rewritten for a long time: it is not durable, so a handover to it waits."""
    client = g.dev.agent_redis(instance)
    client.config_set("rdb-key-save-delay", 20_000)
    client.config_set("appendonly", "no")
    client.config_set("appendonly", "yes")
    wait_until("the rewrite runs", lambda: attempt(lambda: g.dev.redis(instance).info(
        "persistence")["aof_rewrite_in_progress"] == 1))


def test_one_at_a_time_and_cancelled(dev):
    """While it waits for its target a second one is refused, and cancel takes it back: every
    setting of every member is what it was."""
    g = Group(dev)
    g.fill(1000)
    target, sibling = g.members[1], g.members[2]
    slow_rewrite(g, target)
    dev.agent_redis(target).config_set("rdb-key-save-delay", 0)  # the child has its own already
    before, copies = g.settings(), g.full_copies()
    with Writers(dev, g.name) as w:
        wait = dev.begin(target, "promote_to_replica_source")
        wait_until("it waits for its target", lambda: (dev.look(target).get("operation") or {})
                   .get("phase") == "handover-stage")
        assert dev.look(target)["status"] == "PROMOTE"
        status, message = dev.ask(sibling, "promote_to_replica_source")
        assert status == 422 and "handover" in message, (status, message)
        status, message = dev.ask(sibling, "cancel")
        assert status == 202, message
        last = wait(10)
        assert not last["done"] and "cancel" in last["reason"], last
        w.goes_on()
    assert g.settle() is g.members[0]
    assert g.settings() == before and g.full_copies() == copies
    w.verify(g.source(), g.replicas())


# Undone.

def undone(g, w, last, before, copies):
    """The source of before serves, with the settings of before, and nobody copied anything."""
    assert not last["done"] and last["reason"], last
    source = g.settle()
    assert source is g.members[0], g.story()
    w.goes_on()
    w.stop()
    w.verify(source, g.replicas())
    assert g.settings() == before
    assert g.full_copies() == copies
    assert "handover.undone" in kinds(g.dev)


@contextlib.contextmanager
def applies_nothing(d, instance):
    """It answers and looks linked, and its offset stands still (REDIS.md 3.10)."""
    client = d.agent_redis(instance)
    client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        yield
    finally:
        client.execute_command("CLIENT", "UNPAUSE")


@pytest.mark.parametrize("how", ["applies nothing", "stopped"])
def test_a_target_that_cannot_catch_up(stoppable, crash, how, record_property):
    """It falls behind in the fence: undone in time, the writers go on, and the reason says how far
    behind it was."""
    d = stoppable
    g = Group(d)
    target = g.members[1]
    before, copies = g.settings(), g.full_copies()
    with Writers(d, g.name) as w:
        crash.arm("phase.handover-fence.entered")
        wait = d.begin(target, "promote_to_replica_source")
        crash.reached()
        with stopped(d.pid(target)) if how == "stopped" else applies_nothing(d, target):
            count = w.acknowledged()
            wait_until("the target is behind", lambda: w.acknowledged() > count + 50)
            crash.go_on()
            wait_until("it is undone", lambda: "handover.undoing" in kinds(d), 20)
            w.goes_on()
        last = wait()
        if how == "applies nothing":
            assert re.search(r"[1-9]\d* bytes behind", last["reason"]), last
        undone(g, w, last, before, copies)
    record_property("told", f"a target that {how}: {last['reason']}")


@pytest.mark.parametrize("point", ["phase.handover-fence.entered", "act.fence.after",
                                   "act.yield.after"])
def test_source_stopped_in_the_fence(stoppable, crash, point, record_property):
    """SIGSTOP before the fence, in it, and when it has been demoted already."""
    d = stoppable
    g = Group(d)
    before = g.settings()
    pid = d.pid(g.members[0])
    with Writers(d, g.name) as w:
        crash.arm(point)
        wait = d.begin(g.members[1], "promote_to_replica_source")
        crash.reached()
        with stopped(pid):
            crash.go_on()
            # Demoted before it stopped, the target may have seen all of it: that is a handover.
            wait_until("it is decided", lambda: {"handover.undoing", "source.changed"} &
                       set(kinds(d)), 20)
            committed = "source.changed" in kinds(d)
            assert not (committed and point != "act.yield.after")
            if not committed:
                events = d.events()
                # The fence begins where the phase before it was left.
                took = at([e for e in events if e["event"] == "handover.undoing"][-1]) - at(
                    [e for e in events if e["event"] == "handover.phase"][-1])
                assert took < UNDO_LIMIT + 1, took
                record_property("told", f"source stopped at {point}: undone after {took:.1f} s")
            else:
                w.goes_on()
        last = wait()
        w.goes_on()
        g.settle()
    assert last["done"] == committed
    w.verify(g.source(), g.replicas())
    if not committed:
        assert g.source() is g.members[0] and g.settings() == before


def test_source_stopped_after_the_commit(stoppable, crash):
    """The target serves; the stopped one is killed by its agent, and comes back as a replica."""
    d = stoppable
    g = Group(d)
    pid = d.pid(g.members[0])
    with Writers(d, g.name) as w:
        crash.arm("phase.handover-promote.entered")
        wait = d.begin(g.members[1], "promote_to_replica_source")
        crash.reached()
        with stopped(pid):
            crash.go_on()
            w.goes_on()
            assert g.source() is g.members[1]
            wait_until("the stopped one is killed", lambda: pid not in d.server_pids(), 30)
        last = wait()
        assert last["done"], last
        g.settle()
    assert w.threads[0].sources[-1][0] == g.members[1]["ip"][0]
    w.verify(g.source(), g.replicas())


@contextlib.contextmanager
def store_locked(d):
    """Nobody else can commit: as on a disk that does not answer."""
    db = sqlite3.connect(os.path.join(d.dir, "tanistd", "tanist.db"), timeout=10,
                         isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def nobody_writable(g):
    """No member takes a write now. One that answers nothing takes none either."""
    for m in g.members:
        client = g.dev.redis(m, socket_timeout=0.5)
        try:
            client.set("stray", "write")
        except (redis.ResponseError, redis.TimeoutError, redis.ConnectionError):
            continue
        return False
    return True


# SQLite waits for 5 s by itself: locked for longer, the commit fails first and is tried again.
@pytest.mark.parametrize("how, seconds", [("locked", 4), ("locked", 8), ("stopped", 4)])
def test_store_unavailable_at_the_commit(stoppable, crash, how, seconds, record_property):
    """Nobody is writable until it answers; then it is committed or undone at once, nothing is lost,
    and an event says how long it took. `stopped`: the whole control plane stands still in the
    middle of the commit."""
    d = stoppable
    g = Group(d)
    with Writers(d, g.name) as w:
        # The commit of the fence goes through, the next one does not.
        crash.arm("phase.handover-fence.entered")
        wait = d.begin(g.members[1], "promote_to_replica_source")
        crash.reached()
        fenced = time.monotonic()
        with store_locked(d) if how == "locked" else contextlib.nullcontext():
            crash.go_on("store.commit.before" if how == "stopped" else None)
            wait_until("nobody is writable", lambda: nobody_writable(g), 10)
            begin = time.monotonic()
            while time.monotonic() < begin + seconds:
                assert nobody_writable(g)
                time.sleep(0.1)
            count = w.acknowledged()
            assert len(g.masters()) <= 1
        crash.go_on()
        answers = time.monotonic()
        w.goes_on()
        took = time.monotonic() - answers
        assert w.acknowledged() > count
        last = wait()
        most = 1000 * (time.monotonic() - fenced)
        g.settle()
    w.verify(g.source(), g.replicas())
    assert took < 5, took  # it aims at 1 s; the machine may be busy
    # The commit begins a moment after the last server has stopped taking writes.
    held_up = store_held_up_ms(d)
    assert 1000 * (seconds - 2) <= held_up <= most, (held_up, most, g.story())
    record_property("told", f"store {how} at the commit of a handover for {seconds} s: writes "
                    f"{took:.2f} s after it answered; {last['reason']}; an event says that it held "
                    f"the commit up for {held_up} ms")


# Members in a state of their own.

def test_disk_of_the_source_full(dev):
    """It refuses writes (MISCONF) and PING; its data are whole in memory: a handover saves them."""
    g = Group(dev)
    g.fill(500)
    source, target = g.members[0], g.members[1]
    # Where its RDB would go there is a folder: every save fails, as on a full disk.
    rdb = os.path.join(dev.folder(source), "data", "dump.rdb")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(rdb)
    os.mkdir(rdb)
    assert dev.agent_redis(source).execute_command("BGSAVE")

    def is_misconf():
        try:
            dev.redis(source).set("x", "y")
        except redis.ResponseError as e:
            return "MISCONF" in str(e)
        return False
    wait_until("it refuses writes", is_misconf, 20)
    dev.promote(target)
    assert g.source() is target
    assert dev.redis(target).set("y", "z")
    assert g.has_all(target, 500) and g.has_all(g.members[2], 500)
    # A server gives itself up that cannot write what it copies. Repaired, it is a copy again.
    os.rmdir(rdb)
    g.settle(60)
    assert g.has_all(source, 500) and dev.redis(source).get("y") == "z"


def slow_copies(g, delay_us=20_000):
    """A first copy from the present source takes so long for each key."""
    g.dev.agent_redis(g.source()).config_set("rdb-key-save-delay", delay_us)


def test_replica_in_its_first_sync(dev):
    """Its source is promoted away: it stays BUILD, copies from the new source, and is nobody's
    candidate meanwhile."""
    g = Group(dev, replicas=1)
    g.fill(500)
    slow_copies(g)
    dev.tanist("create", "late", "--replica-of", g.name)
    late = dev.show("late")
    wait_until("its copy has begun", lambda: attempt(lambda: dev.redis(g.members[0]).info(
        "persistence")["rdb_bgsave_in_progress"] == 1))
    status, message = dev.ask(late, "promote_to_replica_source")
    assert status == 422 and "BUILD" in message, (status, message)
    election = dev.api.get(f"/instances/{late['id']}/election")["election"]
    mine = [c for c in election["candidates"] if c["id"] == late["id"]]
    assert all(not c["eligible"] for c in mine) and election["winner"] == g.members[1]["id"]

    with Writers(dev, g.name, count=2) as w:
        dev.promote(g.members[1])
        w.goes_on()
        assert dev.look(late)["status"] in ("BUILD", "ACTIVE")
        # ACTIVE it is only when it has everything.
        late = dev.wait_status("late", "ACTIVE")
        assert late["replica_of"]["id"] == g.members[1]["id"]
        assert g.has_all(late, 500)
    g.members.append(late)
    assert g.settle() is g.members[1]
    w.verify(g.source(), g.replicas())


def test_target_promoted_right_after_its_first_sync_and_killed(dev):
    """It is durable by then: killed and started again, it has every key."""
    source = dev.create("src")
    with dev.redis(source).pipeline(transaction=False) as p:
        for i in range(500):
            p.set(f"k{i}", str(i))
        p.execute()
    dev.agent_redis(source).config_set("rdb-key-save-delay", 500)
    rep = begin_replica(dev, "src", "rep")
    # Its own rewrite takes a second: it is not durable when it is attached.
    wait_until("its server answers", lambda: attempt(
        lambda: dev.agent_redis(rep).config_set("rdb-key-save-delay", 2000)), every=0.005)
    rep = dev.wait_status("rep", "ACTIVE")
    dev.promote(rep)
    dev.redis(rep).set("after", "handover")
    dev.kill_server(rep)
    wait_until("it is master again", lambda: attempt(
        lambda: dev.redis(rep).info("replication")["role"] == "master"), 40)
    assert dev.redis(rep).dbsize() == 501
    dev.wait_status("rep", "ACTIVE")
    assert dev.source_of(source) == rep["id"]
    assert "source.held" not in kinds(dev)


# Everything dies.

@pytest.mark.parametrize("first", ["servers", "programs", "in turns"])
def test_everything_killed_and_started_in_any_order(dev, first):
    g = Group(dev)
    with Writers(dev, g.name) as w:
        dev.promote(g.members[2])
        w.goes_on()
    w.verify(g.source(), g.replicas())
    pids = [dev.pid(m) for m in g.members]
    random.shuffle(pids)

    def kill_servers(which):
        for pid in which:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if first == "servers":
        kill_servers(pids)
        dev.kill()
    elif first == "programs":
        dev.kill()
        kill_servers(pids)
    else:
        kill_servers(pids[:1])
        dev.kill()
        kill_servers(pids[1:2])
        dev.start()
        kill_servers(pids[2:])
        dev.kill()
    dev.start()
    assert g.settle(60) is g.members[2]
    w.verify(g.source(), g.replicas())
    assert "source.held" not in kinds(dev)
    # And the next handover is as good as any.
    with Writers(dev, g.name, names="again") as again:
        g.wait_durable()
        dev.promote(g.members[0], patience=10)
        again.goes_on()
    g.settle()
    again.verify(g.source(), g.replicas())
    w.verify(g.source(), g.replicas())
