"""Kills at every crash point there is, and finds the same end state each time (DESIGN.md 3).

The points come from the programs' own tables (`--crash-points`), so a new act, phase or state
brings its points along; one that its life does not reach fails. At each point one life of a group
is lived twice: once tanistd or the agent kills itself there, once it stands still there while
every server is killed. Besides, one life is lived for every single commit of the store, before
and after.

The lives wait most of their time, so several are lived side by side, ahead of the tests that ask
for them.
"""
import collections
import concurrent.futures
import contextlib
import os
import re
import signal
import tempfile
import threading

import pytest

from harness import Dev, attempt, crash_points, durable_goal, process_state, wait_until

SIDE_BY_SIDE = 4
LIMIT = 60


def is_of_a_change(point):
    """Of a handover, an eject or a detach: crash_change_test.py."""
    return point.startswith(("phase.handover-", "phase.eject-", "phase.detach-",
                             "member.fenced.")) or point in CHANGE_ACTS


#: Acts of the agent that no other operation brings.
CHANGE_ACTS = [f"act.{act}.{when}" for act in
               ("fence", "yield", "unfence", "seal", "drop-clients")
               for when in ("before", "after")]
POINTS = [p for p in crash_points() if not is_of_a_change(p)]
pytestmark = pytest.mark.skipif(not POINTS, reason="this build has no crash points")


# What a person does, again and again until it is so: an answer that was lost says nothing.

def find(d, name):
    status, body = attempt(lambda: d.api.call("GET", "/instances/detail?limit=1000")) or (0, None)
    found = [i for i in body["instances"] if i["name"] == name] if status == 200 else []
    return found[0] if found else None


def is_gone(d, name):
    status, body = attempt(lambda: d.api.call("GET", "/instances?limit=1000")) or (0, None)
    return status == 200 and name not in [i["name"] for i in body["instances"]]


def has_status(d, name, status):
    found = find(d, name)
    return found if found and found["status"] == status else None


def create(d, *names, of=None):
    body = {"name": re.sub("-1$", "", names[0]), "flavorRef": "1", "volume": {"size": 1}}
    if of:
        body = {"name": body["name"], "replica_of": of["id"], "replica_count": len(names)}

    def asked():
        """Asks again only when it is known that the last time left nothing: an answer may be lost
        though the create is recorded."""
        there = attempt(d.instances)
        if there is not None and names[0] not in [i["name"] for i in there]:
            attempt(lambda: d.api.call("POST", "/instances", {"instance": body}))
            there = attempt(d.instances)
        return names[0] in [i["name"] for i in there or []]
    wait_until(f"{names} recorded", asked, LIMIT)
    return [wait_until(f"{n} is ACTIVE", lambda n=n: has_status(d, n, "ACTIVE"), LIMIT)
            for n in names]


def accept(d, instance, copy, keys):
    """The word is for one run of the server: should that one die too, it is asked about again, as
    long as the replica holds what the source has lost."""
    def is_so():
        if not has_status(d, instance["name"], "ACTIVE"):
            attempt(lambda: d.api.call("POST", f"/instances/{instance['id']}/action",
                                       {"start": {"accept_data_loss": True}}))
        return attempt(lambda: is_copy(d, copy, keys)) and \
            has_status(d, instance["name"], "ACTIVE")
    wait_until(f"{instance['name']} goes on with {keys}", is_so, LIMIT, every=0.05)


def write(d, source, key):
    wait_until(f"{key} is written", lambda: attempt(lambda: d.redis(source).set(key, "v")), LIMIT)


def is_copy(d, replica, keys):
    info = d.redis(replica).info("replication")
    return info["role"] == "slave" and info["master_link_status"] == "up" and \
        d.redis(replica).dbsize() == keys


def follows(d, replica, keys):
    wait_until(f"{replica['name']} is a copy of {keys} keys",
               lambda: attempt(lambda: is_copy(d, replica, keys)), LIMIT)


def pid_of(d, instance):
    return wait_until("a server answers", lambda: attempt(lambda: d.pid(instance)), LIMIT)


def send(pid, signum):
    """A process that is gone already needs none."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def kill_server(d, instance):
    send(pid_of(d, instance), signal.SIGKILL)


def delete(d, *instances):
    for i in instances:
        def asked():
            attempt(lambda: d.api.call("DELETE", f"/instances/{i['id']}"))
            return is_gone(d, i["name"])
        wait_until(f"{i['name']} is deleted", asked, LIMIT, every=0.05)


def end_state(d):
    """Nothing is left of a group that was deleted."""
    wait_until("no server is left", lambda: d.server_pids() == [], LIMIT)
    wait_until("no folder is left",
               lambda: os.listdir(os.path.join(d.dir, "agent", "instances")) == [], LIMIT)


# The lives

def live(d):
    """Create, replica create, restart of a replica and of the source, delete."""
    source = create(d, "src")[0]
    write(d, source, "k1")
    replicas = create(d, "rep-1", "rep-2", of=source)
    for r in replicas:
        follows(d, r, 1)
    kill_server(d, replicas[0])
    follows(d, replicas[0], 1)
    kill_server(d, source)
    write(d, source, "k2")
    for r in replicas:
        follows(d, r, 2)
    wait_until("the source is ACTIVE", lambda: has_status(d, "src", "ACTIVE"), LIMIT)
    delete(d, *replicas, source)


def stop_agent(d):
    pid = d.program_pid("agent")
    os.kill(pid, signal.SIGSTOP)
    return pid


def lose_data(d, source):
    """The source dies and its data with it, before its agent can start it again."""
    pid = pid_of(d, source)
    data = os.path.join(d.folder(source), "data")
    agent = wait_until("the agent stands still", lambda: attempt(lambda: stop_agent(d)), LIMIT)
    send(pid, signal.SIGKILL)
    os.rename(data, data + ".lost")
    os.mkdir(data)
    os.kill(agent, signal.SIGCONT)


def promote_by_hand(d, instance):
    wait_until("promoted by hand", lambda: attempt(
        lambda: d.agent_redis(instance).execute_command("SLAVEOF NO ONE")), LIMIT)


def live_in_doubt(d):
    """A source is held and told to go on; a replica is promoted by hand and told to follow."""
    source = create(d, "src")[0]
    write(d, source, "k1")
    replica = create(d, "rep", of=source)[0]
    follows(d, replica, 1)
    lose_data(d, source)
    wait_until("the source is held", lambda: has_status(d, "src", "ERROR"), LIMIT)

    # Promoted by hand it is guarded again; its replica stands still meanwhile, else it would copy.
    pid = pid_of(d, replica)
    send(pid, signal.SIGSTOP)
    promote_by_hand(d, source)
    wait_until("the source is guarded", lambda: attempt(
        lambda: d.redis(source).info("replication")["role"] == "slave"), LIMIT)
    send(pid, signal.SIGCONT)
    wait_until("the replica kept its key",
               lambda: attempt(lambda: d.redis(replica).dbsize() == 1), LIMIT)

    accept(d, source, replica, 0)
    write(d, source, "k2")
    follows(d, replica, 1)
    promote_by_hand(d, replica)
    wait_until("the replica is found out", lambda: has_status(d, "rep", "ERROR"), LIMIT)
    accept(d, replica, replica, 1)
    delete(d, replica, source)


def live_with_breaks(d):
    """All servers are stopped cleanly and started again: a replica boots from its RDB."""
    source = create(d, "src")[0]
    write(d, source, "k1")
    replica = create(d, "rep", of=source)[0]
    follows(d, replica, 1)
    wait_until("the replica's AOF is whole", lambda: attempt(
        lambda: d.redis(replica).info("persistence")["aof_rewrite_in_progress"] == 0), LIMIT)
    d.stop()
    d.start()
    write(d, source, "k2")
    follows(d, replica, 2)
    wait_until("the replica persists", lambda: attempt(
        lambda: d.redis(replica).info("persistence")["aof_enabled"] == 1), LIMIT)
    delete(d, replica, source)


#: Points that the first life does not pass, by how they begin.
LIVES = {
    "phase.restart-held": live_in_doubt,
    "member.error": live_in_doubt,
    "act.guard": live_in_doubt,
    "act.follow": live_in_doubt,
    "act.stop": live_with_breaks,
    "act.set-aside-aof": live_with_breaks,
    "act.aof-on": live_with_breaks,
}


def life_of(point):
    return next((life for start, life in LIVES.items() if point.startswith(start + ".")), live)


# Living

def role_of(pid):
    return durable_goal(os.path.join(os.readlink(f"/proc/{pid}/cwd"), ".."))["role"]


def kill_at_the_point(d, who, flag, over):
    """The program has stopped at the point: servers die there, then it goes on."""
    while not over.wait(0.01):
        text = attempt(lambda: open(flag).read()) or ""
        if not text.endswith("\n") or attempt(lambda: process_state(int(text))) != "T":
            continue
        for pid in d.server_pids():
            if who == "servers" or attempt(lambda pid=pid: role_of(pid)) == who:
                send(pid, signal.SIGKILL)
        os.kill(int(text), signal.SIGCONT)
        return


class Unreached(AssertionError):
    """Nothing passed the point, so this life proves nothing about it."""


def live_once(life, point, who):
    """Lives it with one kill at the point. `who`: the program that comes there, all servers, or
    those of one role (`source`, `replica`)."""
    with tempfile.TemporaryDirectory(prefix="tanist-crash-") as folder:
        flag, over = os.path.join(folder, "flag"), threading.Event()
        env = {"TANIST_CRASH": point, "TANIST_CRASH_FLAG": flag,
               "TANIST_CRASH_SIGNAL": "KILL" if who == "program" else "STOP"}
        with Dev(env=env, start=False) as d:
            killer = threading.Thread(target=kill_at_the_point, args=(d, who, flag, over))
            killer.start()
            try:
                d.start()
                life(d)
                end_state(d)
            except Exception as e:
                raise AssertionError(f"{point}, {who}: {e!r}\n{d.words()}") from e
            finally:
                over.set()
                killer.join()
        if not os.path.exists(flag):
            raise Unreached(f"{point} was never reached")


def passes(life):
    """How often one undisturbed life passes each point."""
    with tempfile.TemporaryDirectory(prefix="tanist-crash-") as folder:
        trace = os.path.join(folder, "trace")
        with Dev(env={"TANIST_CRASH_TRACE": trace}) as d:
            life(d)
            end_state(d)
        with open(trace) as f:
            return collections.Counter(f.read().split())


# The tests

KILLED = ("program", "servers")


def pytest_generate_tests(metafunc):
    if "point" in metafunc.fixturenames:
        metafunc.parametrize("who", KILLED)
        metafunc.parametrize("point", POINTS)


@pytest.fixture(scope="module")
def lives(request):
    """A life per (point, who) that is going to be asked for, lived ahead where the tests of this
    file are all run by this process."""
    ahead = {}
    workers = getattr(request.config, "workerinput", {})
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        if not workers or "loadfile" in workers["mainargv"]:
            for item in request.session.items:
                if item.module is request.module and "point" in getattr(item, "fixturenames", ()):
                    p = item.callspec.params
                    key = p["point"], p["who"]
                    ahead[key] = pool.submit(live_once, life_of(p["point"]), *key)
        yield ahead
        for future in ahead.values():
            future.cancel()


def test_the_same_end_whatever_dies(point, who, lives):
    if (point, who) in lives:
        lives[point, who].result()
    else:
        live_once(life_of(point), point, who)


def test_points_are_counted(record_property):
    assert len(POINTS) == len(set(POINTS)) and len(POINTS) >= 30
    starts = {p.rsplit(".", 1)[0] for p in POINTS}
    assert set(LIVES) <= starts, "a life for a point that is no more"
    record_property("told", f"crash points: {len(POINTS)}; at each of them the program was killed "
                    "that came there, and once every server")


def every_pass(wanted):
    """One life for each of (life, point, who, n); those that had nothing to kill at, by point."""
    unreached = []
    with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        futures = {pool.submit(live_once, life, f"{point}#{n}", who): f"{point}#{n}"
                   for life, point, who, n in wanted}
        for future in concurrent.futures.as_completed(futures):
            try:
                future.result()
            except Unreached:
                unreached.append(futures[future])
            except BaseException:
                for f in futures:
                    f.cancel()
                raise
    return unreached


def test_every_commit_of_a_life(record_property):
    """tanistd, the source or the replicas die at each single commit, not only at the first."""
    commits = passes(live)["store.commit.before"]
    wanted = [(live, f"store.commit.{when}", who, n) for n in range(1, commits + 1)
              for when, who in (("before", "program"), ("after", "program"),
                                ("after", "source"), ("after", "replica"))]
    unreached = every_pass(wanted)
    record_property("told", f"crashes at each of the {commits} commits of a life: "
                    f"{len(wanted) - len(unreached)} (tanistd before and after, source, replicas)")
    # Commits that come together share a transaction, so one life has a few less than another.
    assert len(unreached) <= len(wanted) / 5, unreached


@pytest.mark.slow
@pytest.mark.parametrize("life, killed", [(live, KILLED), (live_with_breaks, KILLED),
                                          # Killed while promoted by hand, a server forgets it.
                                          (live_in_doubt, ["program"])])
def test_every_pass_of_every_point(life, killed, record_property):
    counted = passes(life)
    wanted = [(life, point, who, n) for point, times in counted.items()
              for n in range(1, times + 1) for who in killed]
    unreached = every_pass(wanted)
    record_property("told", f"crashes at every pass of every point, {life.__name__}: "
                    f"{len(wanted) - len(unreached)} at {len(counted)} points")
    assert len(unreached) <= len(wanted) / 5, unreached
