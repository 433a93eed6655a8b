"""Kills tanistd and the agent at every crash point there is, during create, replica create,
restart and delete, and finds the same end state each time.

The points come from the programs' own tables (`--crash-points`), so a new act or phase brings its
points along; one that no run reaches fails the test, unless it is named below with the reason.
"""
import os
import signal
import subprocess

import pytest

from harness import BUILD, Dev, attempt, wait_until

#: Points that this life of a group does not pass, and why.
NOT_REACHED = {
    "act.kill": "no server hangs or refuses to stop here: hang_test kills one",
    "act.config-set": "no setting changes at run time here: settings_test changes one",
    "phase.restart-held": "nothing is in doubt here: guard_test holds sources",
    "member.error": "nothing fails here: dev_test has servers that do not start",
    "act.guard": "a guarded server is started as such, not turned into one",
}


def points():
    found = []
    for program in ("tanistd", "tanist-agent"):
        done = subprocess.run([os.path.join(BUILD, program), "--crash-points"], text=True,
                              capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr
        found += done.stdout.split()
    return found


def excused(point):
    return any(point.startswith(prefix + ".") for prefix in NOT_REACHED)


def pytest_generate_tests(metafunc):
    if "point" in metafunc.fixturenames:
        metafunc.parametrize("point", points())


def again(d, *words, limit=60):
    """A command as a person would repeat it while tanist comes back."""
    return wait_until(" ".join(words),
                      lambda: d.tanist(*words, check=False).returncode == 0, limit, every=0.2)


def is_master(d, instance):
    return attempt(lambda: d.redis(instance).info("replication")["role"] == "master")


def is_copy(d, instance, keys):
    return attempt(lambda: d.redis(instance).info("replication")["master_link_status"] == "up"
                   and d.redis(instance).dbsize() == keys)


def exists(d, name):
    return attempt(lambda: name in [i["name"] for i in d.instances()])


def life_of_a_group(d):
    """Each command is repeated until it has been taken; one whose answer was lost may have been
    taken already, so what counts is that the instance is there."""
    ensure(d, "src", ["create", "src", "1", "--size", "1"])
    source = d.wait_status("src", "ACTIVE")
    wait_until("writable", lambda: attempt(lambda: d.redis(source).set("k", "v")))
    ensure(d, "rep-1", ["create", "rep", "--replica-of", "src", "--replica-count", "2"])
    replicas = [d.wait_status(n, "ACTIVE") for n in ("rep-1", "rep-2")]

    os.kill(d.pid(replicas[0]), signal.SIGKILL)
    wait_until("the replica is back", lambda: is_copy(d, replicas[0], 1), limit=60)
    os.kill(d.pid(source), signal.SIGKILL)
    wait_until("the source is back", lambda: is_master(d, source), limit=60)
    d.redis(source).set("k2", "v2")
    for replica in replicas:
        wait_until("the replicas follow", lambda: is_copy(d, replica, 2), limit=60)
    d.wait_status("src", "ACTIVE")

    for name in ("rep-1", "rep-2", "src"):
        wait_until(f"{name} is deleted", lambda: d.tanist("delete", name, check=False) and
                   not exists(d, name), limit=60, every=0.2)
    wait_until("no server is left", lambda: d.server_pids() == [])
    folders = os.path.join(d.dir, "agent", "instances")
    assert os.listdir(folders) == []


def ensure(d, name, words):
    wait_until(" ".join(words), lambda: exists(d, name) or
               (d.tanist(*words, check=False).returncode == 0 and exists(d, name)), 60, every=0.2)


def test_the_same_end_whatever_dies(point, tmp_path):
    flag = tmp_path / "crashed"
    with Dev(env={"TANIST_CRASH": point, "TANIST_CRASH_FLAG": str(flag)}) as d:
        life_of_a_group(d)
        if excused(point):
            assert not flag.exists(), f"{point} is reached: take it off the list"
        else:
            assert flag.exists(), f"{point} was never reached"


def test_points_are_counted():
    found = points()
    reached = [p for p in found if not excused(p)]
    print(f"{len(found)} crash points, {len(reached)} of them killed at")
    assert len(found) == len(set(found)) and len(reached) >= 30
