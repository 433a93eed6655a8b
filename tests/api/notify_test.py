"""What the programs tell the service manager, on a real socket in the manager's place: READY when
they can be used and not before, pings of the watchdog at the asked rate and only while the loop
turns, STOPPING, and nothing of it to the servers that are started."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import BUILD, Api, Dev, attempt, free_port, process_state, wait_until

REDIS = shutil.which("redis-server") or "/usr/bin/redis-server"


class Manager:
    """Takes what is told, with the time it came."""

    def __init__(self, folder, abstract=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.name = os.path.join(folder, "notify")
        self.socket.bind("\0" + self.name if abstract else self.name)
        self.name = "@" + self.name if abstract else self.name
        self.told = []  # (when, line)
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        with contextlib.suppress(OSError):
            while text := self.socket.recv(4096):
                now = time.monotonic()
                self.told += [(now, line) for line in text.decode().splitlines()]

    def lines(self, start=""):
        return [line for _, line in self.told if line.startswith(start)]

    def times(self, line):
        return [when for when, told in self.told if told == line]


@pytest.fixture()
def folder():
    with tempfile.TemporaryDirectory(prefix="tanist-notify-") as f:
        yield f


@contextlib.contextmanager
def program(manager, *words, watchdog_us=None, watchdog_pid=None):
    # The shell's own number is the program's, once it is exec'ed.
    script = 'export WATCHDOG_PID=${PID_WANTED:-$$}; exec "$@"'
    env = dict(os.environ, NOTIFY_SOCKET=manager.name)
    if watchdog_us:
        env["WATCHDOG_USEC"] = str(watchdog_us)
    if watchdog_pid:
        env["PID_WANTED"] = str(watchdog_pid)
    log = open(os.path.join(os.path.dirname(manager.name.lstrip("@")), "log"), "ab")
    process = subprocess.Popen(["sh", "-c", script, "sh", *words], env=env, stderr=log,
                               stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(20)
        log.close()


def tanistd(manager, folder, port, **more):
    return program(manager, os.path.join(BUILD, "tanistd"), "--dir", os.path.join(folder, "state"),
                   "--listen", f"127.0.0.1:{port}", **more)


def ready(manager):
    return wait_until("READY", lambda: manager.times("READY=1"))


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_comes_when_the_api_answers_and_stopping_before_the_end(folder, abstract):
    manager, port = Manager(folder, abstract), free_port()
    url = f"http://127.0.0.1:{port}"
    with tanistd(manager, folder, port) as process:
        ready(manager)
        status, _ = Api(f"{url}/v1.0/dev").call("GET", "/instances")
        assert status == 200
        assert manager.lines() == ["READY=1", f"STATUS={url}"]  # no watchdog, no pings

        process.send_signal(signal.SIGHUP)
        wait_until("the reload's end", lambda: len(manager.lines()) == 5)
        begun, at, ended = manager.lines()[2:]
        assert (begun, at.split("=")[0], ended) == ("RELOADING=1", "MONOTONIC_USEC", "READY=1")
        process.terminate()
        assert process.wait(20) == 0
        wait_until("STOPPING", lambda: manager.times("STOPPING=1"))


def test_a_tanistd_that_cannot_serve_is_never_ready(folder):
    manager = Manager(folder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        with tanistd(manager, folder, taken.getsockname()[1]) as process:
            assert process.wait(20) == 1
    wait_until("STOPPING", lambda: manager.times("STOPPING=1"))
    assert not manager.times("READY=1")


def test_pings_come_at_the_asked_rate_and_not_from_a_stopped_loop(folder):
    manager = Manager(folder)
    half_s = 0.2
    with tanistd(manager, folder, free_port(), watchdog_us=int(half_s * 2e6)) as process:
        ready(manager)
        seen = len(manager.times("WATCHDOG=1"))
        wait_until("pings", lambda: len(manager.times("WATCHDOG=1")) >= seen + 6)
        times = manager.times("WATCHDOG=1")
        # Never faster than asked, whatever the machine is doing; a machine that has better things
        # to do may make them late.
        assert times[-1] - times[0] >= (len(times) - 1) * half_s * 0.9, times
        assert min(b - a for a, b in zip(times, times[1:])) < half_s * 1.5, times

        process.send_signal(signal.SIGSTOP)
        wait_until("it stands still", lambda: process_state(process.pid) == "T")
        stopped = time.monotonic() + half_s / 2  # what was under way is read until then
        time.sleep(half_s * 5)
        assert not [t for t in manager.times("WATCHDOG=1") if t > stopped]
        process.send_signal(signal.SIGCONT)
        wait_until("pings again", lambda: manager.times("WATCHDOG=1")[-1] > stopped)


def test_a_watchdog_for_another_process_is_not_ours(folder):
    manager = Manager(folder)
    with tanistd(manager, folder, free_port(), watchdog_us=20000, watchdog_pid=1):
        ready(manager)
        time.sleep(0.2)
    assert not manager.times("WATCHDOG=1")


@pytest.mark.parametrize("name", ["", "relative", "/nowhere/at/all", "/" + "x" * 300])
def test_a_manager_that_is_not_there_is_no_reason_not_to_serve(folder, name):
    manager, port = Manager(folder), free_port()
    log = open(os.path.join(folder, "log"), "ab")
    process = subprocess.Popen(
        [os.path.join(BUILD, "tanistd"), "--dir", os.path.join(folder, "state"),
         "--listen", f"127.0.0.1:{port}"], stderr=log,
        env=dict(os.environ, NOTIFY_SOCKET=name, WATCHDOG_USEC="100000"))
    try:
        api = Api(f"http://127.0.0.1:{port}/v1.0/dev")
        wait_until("the API answers", lambda: attempt(lambda: api.get("/instances")))
        process.terminate()
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
        log.close()
    assert not manager.told


def test_a_full_queue_delays_ready_and_loses_nothing(folder):
    """The manager reads nothing for a while: READY is still there when it does."""
    name = os.path.join(folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        s.bind(name)
        filler.setblocking(False)
        filled = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filler.sendto(b"x", name)
                filled += 1
        port = free_port()
        manager = type("", (), {"name": name})
        with tanistd(manager, folder, port) as process:
            api = Api(f"http://127.0.0.1:{port}/v1.0/dev")
            wait_until("the API answers", lambda: attempt(lambda: api.get("/instances")))
            s.settimeout(20)
            for _ in range(filled):
                assert s.recv(4096) == b"x"
            assert s.recv(4096).startswith(b"READY=1\n")
            assert process.poll() is None


def test_the_agent_is_ready_without_a_control_plane_and_says_when_it_is_heard(folder):
    """A start that waited for the control plane would hang upgrades while that is away."""
    manager, port = Manager(folder), free_port()
    token = os.path.join(folder, "token")
    with open(token, "w") as f:
        f.write("word\n")
    with program(manager, os.path.join(BUILD, "tanist-agent"), "--dir",
                 os.path.join(folder, "agent"), "--server", f"http://127.0.0.1:{port}",
                 "--token-file", token, watchdog_us=200000) as process:
        ready(manager)
        assert any("not yet heard" in line for line in manager.lines("STATUS="))
        wait_until("pings", lambda: len(manager.times("WATCHDOG=1")) >= 3)

        process.send_signal(signal.SIGHUP)
        wait_until("the reload's end", lambda: len(manager.times("READY=1")) == 2)
        told = manager.lines()
        at = told.index("RELOADING=1")
        assert told[at + 1].startswith("MONOTONIC_USEC=")
        assert "READY=1" in told[at:]

        # Now the control plane, with the token that the agent already has.
        os.mkdir(os.path.join(folder, "state"), 0o700)
        os.rename(token, os.path.join(folder, "state", "agent.token"))
        os.symlink(os.path.join(folder, "state", "agent.token"), token)
        other = os.path.join(folder, "other")
        os.mkdir(other)
        with tanistd(Manager(other), folder, port):
            wait_until("heard", lambda: [line for line in manager.lines("STATUS=")
                                         if line.endswith(", heard by the control plane")])
        process.terminate()
        assert process.wait(20) == 0
        wait_until("STOPPING", lambda: manager.times("STOPPING=1"))


def test_servers_are_not_told_of_the_manager(folder):
    """A server with `supervised auto` would speak in the agent's place."""
    manager = Manager(folder)
    wrapper, seen = os.path.join(folder, "redis-server"), os.path.join(folder, "seen")
    with open(wrapper, "w") as f:
        f.write(f'#!/bin/sh\nenv >>{seen}\nexec {REDIS} "$@"\n')
    os.chmod(wrapper, 0o755)
    env = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    settings = [f"agent.servers={wrapper}", "redis.default_datastore=redis"]
    with Dev(env=env, settings=settings) as dev:
        dev.create("one")
        wait_until("both programs have told", lambda: len(manager.times("READY=1")) == 2)
        with open(seen) as f:
            names = {line.split("=")[0] for line in f}
        assert "PATH" in names
        assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
