"""Kills at every phase of a handover, an eject and a detach, and at every act of the agent that
they bring: tanistd, the agent, the source, the one that takes over, and a third member
(DESIGN.md 5, 9).

The points come from the programs' own tables (`--crash-points`). For each operation and each
victim one group after another goes through the operation, with a kill at the next point in each.
It must get right by itself within 30 seconds: one source, all others follow it, everybody ACTIVE;
who was ejected is BLOCKED until it is attached again. Nothing that was acknowledged around a
handover is missing.

The lives wait most of their time, so several are lived side by side, ahead of the tests that ask
for them.
"""
import concurrent.futures
import contextlib
import itertools
import os
import signal
import threading
import time

import pytest

from crash_test import is_of_a_change
from groups import Group
from harness import Crash, Dev, attempt, crash_points, is_free, wait_until
from writers import Writers

SIDE_BY_SIDE = 6
LIMIT = 30  # from everything being up to everything being right
REACH_LIMIT = 20
TRIES = 5  # some acts are not needed when another one is faster
FAILURES = 8  # so many rounds of one life may fail before the rest is given up
# With everysec a source that is killed while an fsync runs restarts without its last writes, and
# no operation can help that (doc/what-can-be-lost.md).
SETTINGS = ("redis.appendfsync=always",)

POINTS = [p for p in crash_points() if is_of_a_change(p)]
pytestmark = pytest.mark.skipif(not POINTS, reason="this build has no crash points")


# One operation of each kind on a group that is all right.

class Change:
    """An operation, and the members by the part they play in it."""

    settings = ()
    writers = False  # none of what is acknowledged meanwhile may be lost

    def __init__(self, g):
        self.g, self.d = g, g.dev
        self.source = g.settle(LIMIT)
        g.wait_durable()
        g.wait_copied()
        self.target, self.other = g.replicas()
        self.pids = {who: g.dev.pid(getattr(self, who)) for who in ("source", "target", "other")}

    def pid(self, victim):
        """None when it does not run now: a pid that is free again may be anybody's."""
        if victim in ("tanistd", "agent"):
            lock = os.path.join(self.d.dir, victim, "lock")
            return None if is_free(lock) else attempt(lambda: self.d.program_pid(victim))
        pid = self.pids[victim]
        return pid if pid in self.d.server_pids() else attempt(
            lambda: self.d.pid(getattr(self, victim)))

    def begin(self):
        """What must be so before it is asked for."""

    def ask(self):
        """Called until somebody has come to every point: a lost answer says nothing, and what a
        kill has undone is begun anew."""
        raise NotImplementedError

    def has_ended(self):
        return not any(self.d.look(m).get("operation") for m in self.g.members)

    def is_past(self):
        """It cannot come to a point any more that it has not come to."""
        return False

    def tidy(self):
        """Who is ejected is attached again, as a user would do it."""
        def are_members():
            shown = [self.d.look(m) for m in self.g.members]
            source = [s for s in shown if s["status"] != "BLOCKED"][0]
            for s in shown:
                if s["status"] == "BLOCKED":
                    self.d.ask(s, "attach", replica_of=self.d.source_of(source))
            return all(s["status"] == "ACTIVE" and not s.get("operation") for s in shown)
        wait_until("all are of the group again", lambda: attempt(are_members), LIMIT, every=0.05)


class Handover(Change):
    writers = True

    def ask(self):
        self.d.ask(self.target, "promote_to_replica_source")

    def is_past(self):
        shown = self.d.look(self.target)
        return not shown.get("operation") and (shown["role"] == "source" or
                                               shown["status"] == "BLOCKED")


class Undo(Change):
    """Cancelled while it waits for a target that is not durable."""
    writers = True

    def begin(self):
        client = self.d.agent_redis(self.target)
        for name, value in (("rdb-key-save-delay", 20_000), ("appendonly", "no"),
                            ("appendonly", "yes"), ("rdb-key-save-delay", 0)):
            client.config_set(name, value)
        wait_until("its AOF is being rewritten", lambda: self.d.redis(self.target).info(
            "persistence")["aof_rewrite_in_progress"] == 1)
        self.d.ask(self.target, "promote_to_replica_source")
        wait_until("it waits for its target", lambda: (
            self.d.look(self.target).get("operation") or {}).get("phase") == "handover-stage")

    def ask(self):
        self.d.ask(self.target, "cancel")


class Late(Handover):
    """Taken back behind the fence: the target looks linked and applies nothing for a while."""

    settings = ("replication.stage_limit=1", "replication.catch_up_limit=1")

    def begin(self):
        self.d.agent_redis(self.target).execute_command("CLIENT", "PAUSE", "6000", "WRITE")

    def is_past(self):
        shown = self.d.look(self.target)
        return shown.get("last_operation") and not shown.get("operation")


class Eject(Change):
    """The source is dead before it is asked for; of two replicas that have everything the older
    one wins."""

    settings = ("agent.restart_delay=1000",)

    def begin(self):
        os.kill(self.pids["source"], signal.SIGKILL)

    def ask(self):
        self.d.ask(self.source, "eject_replica_source")


class Held(Eject):
    """bounded(1), and one of two replicas stands still: nobody is elected until it goes on."""

    settings = ("agent.restart_delay=4000", "replication.drain_limit=1",
                "replication.seal_limit=1")

    def begin(self):
        assert self.d.api.call("POST", f"/instances/{self.source['id']}/action",
                               {"durability": "bounded(1)"})[0] == 200
        os.kill(self.pids["other"], signal.SIGSTOP)
        super().begin()

    def has_ended(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pids["other"], signal.SIGCONT)
        return super().has_ended()


class Detach(Change):
    """The target leaves."""

    def ask(self):
        self.d.api.call("PUT", f"/instances/{self.target['id']}", {"instance": {"replica_of": ""}})

    def has_ended(self):
        shown = self.d.look(self.target)
        return not shown.get("replica_of") and not shown.get("operation") and \
            shown["status"] == "ACTIVE"

    def tidy(self):
        assert self.d.redis(self.target).set("own", "write")
        self.g.members.remove(self.target)
        assert self.g.settle(LIMIT) is self.source
        assert not self.d.redis(self.source).exists("own")


def change_of(point):
    """The operation whose life comes to this point."""
    name = point.split(".")[1]
    if name == "handover-undo":
        return Undo
    if name == "unfence":
        return Late
    if name == "eject-held":
        return Held
    if name.startswith("eject-") or name in ("seal", "fenced"):
        return Eject
    return Detach if name.startswith("detach-") else Handover


CHANGES = (Handover, Undo, Late, Eject, Held, Detach)
VICTIMS = ("tanistd", "agent", "source", "target", "other")


# A kill at a point.

class Unreached(AssertionError):
    """Nobody came to the point, so it proves nothing."""


class Striker(threading.Thread):
    """Waits for somebody to come to the first point, kills the victim there, lets it go on; then
    the same at the next one."""

    def __init__(self, crash, change, strikes):
        super().__init__(daemon=True)
        self.crash, self.change, self.strikes = crash, change, strikes
        self.struck, self.over = 0, threading.Event()
        crash.arm(strikes[0][0])

    def run(self):
        points = [p for p, _ in self.strikes] + [None]
        for (_, victim), following in zip(self.strikes, points[1:]):
            at_point = None
            while at_point is None:
                if self.over.wait(0.003):
                    self.crash.go_on()
                    return
                at_point = self.crash.stopped()
            pid = self.change.pid(victim)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.struck += 1
            self.crash.go_on(following)

    def end(self):
        self.over.set()
        self.join()


def one_round(g, crash, kind, strikes):
    """One operation with its kills. Returns how many of them there were."""
    change = kind(g)
    striker = Striker(crash, change, strikes)
    try:
        change.begin()
        striker.start()
        end = time.monotonic() + REACH_LIMIT
        while striker.struck < len(strikes) and time.monotonic() < end:
            attempt(change.ask)
            striker.over.wait(0.01)
            if attempt(change.is_past):
                break
        if striker.struck == 0:
            raise Unreached(f"nobody came to {strikes[0][0]}")
        wait_until("it has ended", lambda: attempt(change.has_ended), 2 * LIMIT, every=0.05)
    finally:
        striker.end()
    change.tidy()
    source = g.settle(LIMIT)
    assert g.masters() == [source["name"]]
    return striker.struck


class Program:
    """`tanist dev` gives a program up that ends three times in a row soon after its start (3 s)."""

    def __init__(self, name):
        self.name = name
        self.quick = 0
        self.killed = time.monotonic()

    def before(self, strikes):
        count = self.count(strikes)
        if count and self.quick + count > 2:
            time.sleep(max(0.0, self.killed + 4 - time.monotonic()))
            self.quick = 0
        self.quick += count

    def after(self, strikes):
        if self.count(strikes):
            self.killed = time.monotonic()

    def count(self, strikes):
        return sum(victim == self.name for _, victim in strikes)


def live_once(d, crash, kind, name, strikes):
    """A group of its own goes through the operation; returns how many kills there were."""
    g = Group(d, name=name)
    g.fill(1000)
    try:
        with Writers(d, name, count=2, rate=100) if kind.writers else \
                contextlib.nullcontext() as w:
            struck = one_round(g, crash, kind, strikes)
            if w:
                w.goes_on(LIMIT)
        source = g.settle(LIMIT)
        if w:
            w.verify(source, g.replicas())
        assert all(g.has_all(m, 1000) for m in g.members), "lost"
    except Unreached:
        raise
    except Exception as e:
        raise AssertionError(f"{str(e) or repr(e)}\n{g.story()}") from e
    d.ask(g.members[0], "delete_group")
    return struck


def live_on(kind, rounds, struck, now):
    """One group after another, on programs of their own; `now` has the kills of the present one."""
    programs = [Program("tanistd"), Program("agent")]
    with contextlib.closing(Crash()) as crash, \
            Dev(discovery=True, env=crash.env, settings=SETTINGS + kind.settings) as d:
        for n, strikes in enumerate(rounds):
            now[:] = strikes
            for again in range(TRIES):
                for p in programs:
                    p.before(strikes)
                try:
                    struck.append(live_once(d, crash, kind, f"g{n}-{again}", strikes))
                    break
                except Unreached:
                    if again + 1 == TRIES:
                        raise
                finally:
                    for p in programs:
                        p.after(strikes)


def live(kind, rounds):
    """Every round; returns how many kills there were in each. One that fails is told of in the end,
    and those behind it have new programs."""
    rounds, struck, now, failed = iter(rounds), [], [], []
    while len(failed) < FAILURES:
        try:
            live_on(kind, rounds, struck, now)
            break
        except Exception as e:
            failed.append(f"{kind.__name__}, {now}: {type(e).__name__}: {e}")
    assert not failed, "\n\n".join(failed)
    return struck


# The tests.

def chains():
    """(operation, victim, part): the points of an operation in parts, so that no life is long."""
    found = {}
    for point in POINTS:
        kind = change_of(point)
        for victim in VICTIMS:
            part = POINTS.index(point) % (3 if victim in ("tanistd", "agent") else 2)
            if kind in (Eject, Held) and victim == "source":
                continue  # it is dead
            found.setdefault((kind.__name__, victim, part), []).append([(point, victim)])
    return found


CHAINS = chains()


@pytest.fixture(scope="module")
def lives(request):
    """The lives that are going to be asked for, lived ahead where the tests of this file are all
    run by this process."""
    ahead = {}
    workers = getattr(request.config, "workerinput", {})
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        if not workers or "loadfile" in workers["mainargv"]:
            for item in request.session.items:
                if item.module is request.module and "chain" in getattr(item, "fixturenames", ()):
                    chain = item.callspec.params["chain"]
                    ahead[chain] = pool.submit(live, globals()[chain[0]], CHAINS[chain])
        yield ahead
        for future in ahead.values():
            future.cancel()


@pytest.mark.parametrize("chain", sorted(CHAINS), ids=lambda c: "-".join(map(str, c)))
def test_one_kill(chain, lives, record_property):
    struck = lives[chain].result() if chain in lives else live(globals()[chain[0]], CHAINS[chain])
    assert struck == [1] * len(CHAINS[chain])
    record_property("told", f"{chain[0].lower()}, kill of {chain[1]}: {len(struck)} points")


def test_every_point_has_an_operation():
    assert POINTS and {change_of(p) for p in POINTS} == set(CHANGES)
    assert sorted({p for rounds in CHAINS.values() for r in rounds for p, _ in r}) == sorted(POINTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Handover, Eject], ids=lambda k: k.__name__)
def test_two_kills(kind, record_property):
    """Every pair of victims at every pair of phases, the later one behind the earlier."""
    phases = [p for p in POINTS if change_of(p) is kind and p.startswith("phase.")]
    singles = list(itertools.product(phases, VICTIMS if kind is Handover else VICTIMS[:2] +
                                     VICTIMS[3:]))
    rounds = [[a, b] for a, b in itertools.product(singles, singles)
              if phases.index(a[0]) < phases.index(b[0])]
    left = iter(rounds)  # each life takes the next one
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        lives = [pool.submit(live, kind, left) for _ in range(SIDE_BY_SIDE)]
    failed = [str(e) for e in (life.exception() for life in lives) if e]
    assert not failed, "\n\n".join(failed)
    struck = list(itertools.chain(*(life.result() for life in lives)))
    assert len(struck) == len(rounds)
    # Behind the promotion a kill of either side may end it, and then no other handover can begin.
    both = sum(n == 2 for n in struck)
    assert both >= len(struck) * 0.9, f"only {both} of {len(struck)} had both kills"
    record_property("told", f"{kind.__name__.lower()}, two kills: {both} pairs, and "
                    f"{len(struck) - both} that ended after the first")
