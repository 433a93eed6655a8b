"""
tanist-agent against a control plane of a hundred lines and real servers: what stands between users
and lost data. The control plane here only serves the goals a test sets and keeps what is reported.

TANIST_BUILD names the build folder. Everything is on loopback, in folders of its own, and every
process that is started is killed by its number.
"""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest

from harness import durable_goal

BUILD = os.environ.get("TANIST_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
AGENT = os.path.join(BUILD, "tanist-agent")
REDIS = shutil.which("redis-server") or "/usr/bin/redis-server"
VERSION = subprocess.run([REDIS, "--version"], capture_output=True, text=True).stdout
VERSION = VERSION.split("v=")[1].split()[0] if "v=" in VERSION else ""
LIMIT_S = 20
REPL, AGENT_SECRET = "r" * 40, "a" * 40

pytestmark = pytest.mark.skipif(not os.access(AGENT, os.X_OK), reason=f"{AGENT} is not built")


def wait_for(what, fn, limit_s=LIMIT_S):
    """The first true value of fn(); looks often, never sleeps until it merely ought to hold."""
    end = time.monotonic() + limit_s
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit_s} s: {what}")
        time.sleep(0.01)


# What the agent leaves out of an observation.
ABSENT = {"run_id": "", "keys": 0, "offset": 0, "slave_offset": -1, "role": "unknown", "error": "",
          "recorded_keys": 0, "recorded_offset": 0, "marker": "unknown", "link_up": False,
          "goal_revision": 0, "replid": "", "watch": 0}


class Control:
    """Goals out, reports in."""

    def __init__(self):
        self.lock = threading.Condition()
        self.goals, self.watches = {}, {}
        self.revision, self.watch_revision = 0, 1
        self.asked = 0  # for goals after this revision: those before have arrived
        self.reports, self.observations, self.times, self.orphans = [], {}, {}, []
        self.known_sessions, self.installation = set(), str(uuid.uuid4())
        self.connections = []
        control = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body of an answer go out one by one

            def setup(self):
                super().setup()
                control.connections.append(self.connection)

            def log_message(self, *args):
                pass

            def answer(self, status, body):
                data = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.headers["Authorization"] != "Bearer token":
                    return self.answer(401, {})
                self.answer(200, control.take_report(body))

            def do_GET(self):
                q = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                self.answer(200, control.wait_goals(int(q["after"][0]), int(q["watch"][0]),
                                                    float(q["wait"][0])))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self.handler, self.Server = Handler, Server
        self.port, self.server = 0, None
        self.open()

    def open(self):
        self.closing = False
        self.known_sessions.clear()  # it is as if it had just been started
        self.server = self.Server(("127.0.0.1", self.port), self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        with self.lock:
            self.closing = True
            self.lock.notify_all()
        self.server.shutdown()
        self.server.server_close()
        for c in self.connections:  # kept-alive ones would be served for ever
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()

    def take_report(self, body):
        with self.lock:
            known = body["session"] in self.known_sessions or body.get("full", False)
            if body.get("full"):
                self.known_sessions.add(body["session"])
            self.reports.append(body)
            for o in body.get("observations", []):
                o = {**ABSENT, **o}
                self.observations[o["instance"]] = o
                self.times.setdefault(o["instance"], []).append((time.monotonic(), o))
            self.orphans = body.get("orphans", [])
            return {"wire": 1, "installation": self.installation, "want_full": not known}

    def wait_goals(self, after, watch, wait_s):
        with self.lock:
            self.asked = after
            self.lock.wait_for(lambda: self.closing or after == 0 or watch != self.watch_revision or
                               self.revision > after, wait_s)
            return {"wire": 1, "installation": self.installation, "revision": self.revision,
                    "watch_revision": self.watch_revision,
                    "goals": [g for g in self.goals.values() if g["revision"] > after],
                    "watches": list(self.watches.values())}

    def set_goal(self, instance, **changes):
        with self.lock:
            self.revision += 1
            goal = self.goals.setdefault(instance, {
                "installation": self.installation, "group": str(uuid.uuid4()),
                "instance": instance, "epoch": 1, "run": "run", "role": "source",
                "start_at_once": True, "upstream_host": "", "upstream_port": 0,
                "name": "one", "project": "test", "datastore": "redis", "version": VERSION,
                "maxmemory": 0, "maxmemory_policy": "noeviction", "backlog": 1 << 20,
                "repl_timeout_s": 15, "ping_period_s": 1, "appendfsync": "everysec",
                "customer_open": True, "secret_repl": REPL, "secret_agent": AGENT_SECRET})
            goal.update(changes)
            goal["revision"] = self.revision
            self.lock.notify_all()

    def watch(self, instance, number, stream, **live):
        with self.lock:
            self.watches[instance] = {"instance": instance, "watch": number, "stream": stream, **live}
            self.watch_revision += 1
            self.lock.notify_all()

    def seen(self, instance):
        return self.observations.get(instance, {})


class Redis:
    """As a customer: TCP, no password."""

    def __init__(self, address, port):
        self.sock = socket.create_connection((address, port), 5)
        self.file = self.sock.makefile("rb")

    def __call__(self, *words):
        self.send(*words)
        return self.read()

    def send(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for w in words:
            w = str(w).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(w), w))
        self.sock.sendall(b"".join(out))

    def read(self):
        line = self.file.readline().rstrip(b"\r\n").decode()
        if line[:1] == "$":
            n = int(line[1:])
            return None if n < 0 else self.file.read(n + 2)[:-2].decode()
        return line[1:] if line[:1] in "+:" else line


class Host:
    """One agent, its folder, and the servers it has started."""

    def __init__(self, control, folder, number):
        self.control, self.folder, self.number = control, folder, number
        self.agent, self.pids = None, set()
        self.sockets = os.path.join("/tmp", f"tanist-test-{os.getpid()}-{number}")
        self.token = os.path.join(folder, "token")
        with open(self.token, "w") as f:
            f.write("token\n")
        self.address = f"127.0.{100 + os.getpid() % 100}.{number}"
        self.extra = {}

    def start(self, wait=True, env=None, **sets):
        self.extra.update(sets)
        read, write = os.pipe()
        argv = [AGENT, "--dir", os.path.join(self.folder, "agent"), "--token-file", self.token,
                "--server", f"http://127.0.0.1:{self.control.port}", "--ready-fd", str(write),
                "--set", f"agent.socket_dir={self.sockets}"]
        for key, value in self.extra.items():
            argv += ["--set", f"agent.{key}={value}"]
        self.log = open(os.path.join(self.folder, "agent.log"), "a")
        self.agent = subprocess.Popen(argv, pass_fds=[write], stderr=self.log,
                                      env={**os.environ, **(env or {})})
        os.close(write)
        if wait:
            with os.fdopen(read) as f:
                assert f.readline() == "ready\n", self.log_text()
        else:
            os.close(read)

    def log_text(self):
        with open(os.path.join(self.folder, "agent.log")) as f:
            return f.read()

    def stop(self, signum=signal.SIGTERM):
        if self.agent is None:
            return 0
        self.agent.send_signal(signum)
        code = self.agent.wait(LIMIT_S)
        self.agent = None
        self.log.close()
        return code

    def path(self, instance, *parts):
        return os.path.join(self.folder, "agent", "instances", instance, *parts)

    def recorded_pid(self, instance):
        with open(self.path(instance, "process.json")) as f:
            pid = json.load(f)["pid"]
        self.pids.add(pid)
        return pid

    def pid(self, instance):
        """Waits: the agent writes its record of a process while the server starts already."""
        path = self.path(instance, "process.json")
        wait_for(f"{path}: the record of its process", lambda: os.path.exists(path))
        return self.recorded_pid(instance)

    def applied(self, instance):
        """Waits until the newest goal is applied; gives the observation."""
        goal = self.control.goals[instance]

        def holds():
            o = self.control.seen(instance)
            return o if o.get("goal_applied") and o.get("goal_revision") == goal["revision"] else None
        o = wait_for(f"goal of {instance} applied; {self.control.seen(instance)}", holds)
        if o["proc"] == "running":
            self.pid(instance)
        return o

    def until(self, instance, what, fn, limit_s=LIMIT_S):
        def holds():
            o = self.control.seen(instance)
            return o if o and fn(o) else None
        try:
            return wait_for(what, holds, limit_s)
        except AssertionError as e:
            raise AssertionError(f"{e}; {self.control.seen(instance)}\n{self.log_text()}") from None

    def source(self, port, **changes):
        instance = str(uuid.uuid4())
        self.control.set_goal(instance, address=self.address, port=port, **changes)
        return instance

    def replica(self, port, upstream_port, **changes):
        return self.source(port, role="replica", start_at_once=False,
                           upstream_host=self.address, upstream_port=upstream_port, **changes)

    def end(self):
        self.stop()
        for name in os.listdir(os.path.join(self.folder, "agent", "instances")):
            try:
                self.recorded_pid(name)
            except (OSError, ValueError, KeyError):
                pass
        for pid in self.pids:
            try:
                with open(f"/proc/{pid}/comm") as f:
                    if f.read().startswith("redis"):
                        os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.sockets, ignore_errors=True)


@pytest.fixture
def control():
    c = Control()
    yield c
    c.close()


@pytest.fixture
def host(control, tmp_path, request):
    h = Host(control, str(tmp_path), 1 + abs(hash(request.node.name)) % 250)
    h.start()
    yield h
    h.end()
    text = h.log_text()
    assert "Sanitizer" not in text and "runtime error" not in text, text
    assert REPL not in text and AGENT_SECRET not in text and "Bearer" not in text


def fill(redis, n=100):
    for i in range(n):
        assert redis("SET", f"key:{i}", i) == "OK"


def waits(o):
    """A guarded run that has loaded its data."""
    return o.get("guarded") and o["proc"] == "running" and not o.get("loading")


def grouped(control, source, **changes):
    """The source has replicas now: a new run of it waits to be compared."""
    run = control.seen(source)["run_id"]
    control.set_goal(source, start_at_once=False, confirmed_run=run, **changes)


def pair(host, port):
    """A source with a hundred keys and a linked replica."""
    source = host.source(port)
    host.applied(source)
    redis = Redis(host.address, port)
    fill(redis)
    grouped(host.control, source, waiting=1)
    host.applied(source)
    replica = host.replica(port + 1, port)
    host.applied(replica)
    host.until(replica, "linked with all keys", lambda o: o.get("link_up") and o["keys"] == 100)
    return source, replica, redis


def test_a_source_starts_in_tens_of_milliseconds_and_reports_itself(host, control):
    source = host.source(7000)
    host.applied(source)
    began = time.monotonic()
    second = host.source(7001)
    o = host.applied(second)
    assert time.monotonic() - began < 2  # under a sanitizer; the figure is in the agent's log
    assert o["role"] == "master" and o["marker"] == "new" and o["durable"] and o["start_at_once"]
    assert len(o["run_id"]) == 40 and not o.get("guarded")
    about = control.reports[0]["about"]
    assert {"datastore": "redis", "version": VERSION} == {
        k: about["datastores"][0][k] for k in ("datastore", "version")}
    mode = os.stat(host.path(source, "redis.conf")).st_mode & 0o777
    assert mode == 0o600


def test_an_idle_host_sends_heartbeats_without_observations(host, control):
    source = host.source(7000)
    host.applied(source)
    wait_for("the marker", lambda: os.path.exists(host.path(source, "marker.json")))
    start = len(control.reports)
    wait_for("heartbeats", lambda: len(control.reports) > start + 6)
    news = [r for r in control.reports[start + 3:] if r.get("observations")]
    assert len(news) <= 3, news


def test_a_replica_attaches_and_a_watch_is_answered_with_its_number(host, control):
    source, replica, redis = pair(host, 7010)
    control.watch(source, 7, True)
    control.watch(replica, 7, True)
    a = host.until(source, "watch 7", lambda o: o.get("watch") == 7)
    redis("SET", "more", "x")
    host.until(replica, "the offset follows", lambda o: o.get("watch") == 7 and o["link_up"] and
               o["slave_offset"] > a["offset"] and o["slave_offset"] == o["offset"])
    assert control.seen(replica)["replid"] == control.seen(source)["replid"]


def test_a_killed_replica_comes_back_from_its_rdb(host, control):
    source, replica, redis = pair(host, 7020)
    host.until(replica, "durable", lambda o: o.get("durable"))
    old = control.seen(replica)["run_id"]
    os.kill(host.pid(replica), signal.SIGKILL)
    o = host.until(replica, "a new run, linked and durable", lambda o: o["run_id"] not in ("", old) and
                   o["proc"] == "running" and o.get("link_up") and o.get("aof") and o.get("durable"))
    assert o["keys"] == 100 and o["role"] == "replica"
    wait_for("the AOF that was set aside is gone", lambda: not os.path.exists(
        host.path(replica, "data", "appendonlydir.old")))


def test_a_killed_source_is_guarded_until_it_is_confirmed(host, control):
    source, replica, redis = pair(host, 7030)
    redis("SET", "after", "the copy")
    host.until(source, "the marker has its position", lambda o: o["recorded_keys"] == 101 and
               o["recorded_offset"] > 0)
    old = control.seen(source)["run_id"]
    os.kill(host.pid(source), signal.SIGKILL)
    o = host.until(source, "a guarded run", lambda o: waits(o) and o["run_id"] not in ("", old))
    assert o["marker"] == "intact" and o["keys"] == 101 and o["role"] == "replica"
    assert o["recorded_keys"] == 101 and o["recorded_offset"] > 0
    assert not o.get("goal_applied")
    assert Redis(host.address, 7030)("SET", "a", "b").startswith("-READONLY")
    control.set_goal(source, epoch=2, confirmed_run=o["run_id"])
    o = host.applied(source)
    assert o["role"] == "master" and o["run_id"] != old
    host.until(replica, "the replica kept its keys", lambda o: o.get("link_up") and o["keys"] == 101)


def test_goals_from_disk_promote_nobody(host, control):
    source, replica, redis = pair(host, 7040)
    host.stop()
    run = control.seen(source)["run_id"]
    control.close()
    os.kill(host.pid(source), signal.SIGKILL)
    host.start(wait=False)
    path = host.path(source, "data")
    wait_for("it is started again, guarded", lambda: "guarded=1" in host.log_text() and
             "server.ready" in host.log_text().split("guarded=1")[1])
    assert Redis(host.address, 7040)("SET", "a", "b").startswith("-READONLY")
    control.open()
    o = host.until(source, "a guarded run is reported", lambda o: waits(o) and
                   o["run_id"] not in ("", run))
    assert o["keys"] == 100 and os.path.isdir(path)


def test_servers_survive_the_agent_and_are_adopted(host, control):
    source, replica, redis = pair(host, 7050)
    before = control.seen(source)["run_id"], host.pid(source), host.pid(replica)
    host.stop(signal.SIGKILL)
    os.remove(host.path(replica, "process.json"))  # it died right behind the spawn
    control.observations.clear()
    began = time.monotonic()
    host.start()
    o = host.applied(source)
    assert (o["run_id"], host.pid(source)) == before[:2]
    assert host.applied(replica)["role"] == "replica"
    assert os.path.exists(f"/proc/{before[2]}")
    assert time.monotonic() - began < 5
    assert "act=start" not in host.log_text().split("agent.started")[-1]
    assert redis("GET", "key:5") == "5"


def test_an_older_copy_of_the_aof_is_noticed_even_after_two_restarts(host, control):
    source, replica, redis = pair(host, 7060)
    host.until(source, "recorded", lambda o: o.get("recorded_keys") == 100)
    aof, copy = host.path(source, "data", "appendonlydir"), host.path(source, "copy")
    shutil.copytree(aof, copy)
    for i in range(50):
        redis("SET", f"later:{i}", i)
    host.until(source, "recorded", lambda o: o.get("recorded_keys") == 150)
    host.stop()
    os.kill(host.pid(source), signal.SIGKILL)
    shutil.rmtree(aof)
    shutil.copytree(copy, aof)
    old = control.seen(source)["run_id"]
    host.start()
    o = host.until(source, "different", lambda o: waits(o) and o["run_id"] not in ("", old))
    assert o["marker"] == "different" and o["keys"] == 100 and o["recorded_keys"] == 150
    os.kill(host.pid(source), signal.SIGKILL)
    host.until(source, "still different", lambda x: waits(x) and
               x["run_id"] not in ("", old, o["run_id"]) and x["marker"] == "different")
    host.stop()
    control.observations.clear()
    host.start()
    o = host.until(source, "and after the agent's restart", waits)
    assert o["marker"] == "different" and o["recorded_keys"] == 150


def test_a_removed_aof_is_different(host, control):
    source, replica, redis = pair(host, 7070)
    host.until(source, "recorded", lambda o: o.get("recorded_keys") == 100)
    host.stop()
    os.kill(host.pid(source), signal.SIGKILL)
    shutil.rmtree(host.path(source, "data", "appendonlydir"))
    old = control.seen(source)["run_id"]
    host.start()
    o = host.until(source, "different", lambda o: waits(o) and o["run_id"] not in ("", old))
    # It boots from its RDB, whatever that has: without an AOF it would come back with nothing.
    assert o["marker"] == "different" and waits(o)
    host.until(replica, "the replica keeps its keys", lambda o: o["keys"] == 100)


def test_stop_all_is_clean_and_found_intact(host, control):
    source, replica, redis = pair(host, 7080)
    host.until(source, "recorded", lambda o: o.get("recorded_keys") == 100)
    pids = host.pid(source), host.pid(replica)
    assert host.stop(signal.SIGUSR2) == 0
    for pid in pids:
        assert not os.path.exists(f"/proc/{pid}")
    with open(host.path(source, "marker.json")) as f:
        marker = json.load(f)
    assert marker["clean"] and marker["role"] == "master"
    marker["boot"] = "another-boot"  # the machine was restarted meanwhile
    with open(host.path(source, "marker.json"), "w") as f:
        json.dump(marker, f)
    control.observations.clear()
    host.start()
    o = host.until(source, "guarded", waits)
    assert o["marker"] == "intact" and o["keys"] == 100


def test_delete_removes_process_and_files(host, control):
    source = host.source(7090)
    host.applied(source)
    pid = host.pid(source)
    control.set_goal(source, run="delete")
    host.until(source, "deleted", lambda o: o["proc"] == "deleted" and o.get("goal_applied"))
    assert not os.path.exists(f"/proc/{pid}") and not os.path.exists(host.path(source))
    host.stop()
    control.observations.clear()
    host.start()
    host.until(source, "told again after a restart", lambda o: o["proc"] == "deleted" and o.get("goal_applied"))
    assert not os.path.exists(host.path(source))


def test_an_address_that_is_taken_fails_with_the_servers_words(host, control):
    with socket.create_server(("0.0.0.0", 0)) as s:
        port = s.getsockname()[1]
        source = host.source(port)
        o = host.until(source, "failed", lambda o: o["proc"] == "failed")
        assert "in use" in o["error"], o["error"]
    o = host.applied(source)
    assert o["proc"] == "running" and not o.get("error")


def test_a_version_that_is_not_installed(host, control):
    source = host.source(7100, version="7.2.99")
    o = host.until(source, "failed", lambda o: o["proc"] == "failed")
    assert o["error"] == f"redis 7.2.99 is not installed on this host (have: redis {VERSION})"


def test_a_server_that_never_answers_is_given_up(host, control, tmp_path):
    fake = tmp_path / "redis-server"
    fake.write_text('#!/bin/sh\ncase "$1" in --version) echo "Redis server v=7.0.99 x";; '
                    "*) exec sleep 600;; esac\n")
    fake.chmod(0o755)
    host.stop()
    host.start(servers=f"{REDIS} {fake}", start_limit=1)
    source = host.source(7110, version="7.0.99")
    o = host.until(source, "failed", lambda o: o["proc"] == "failed")
    assert o["error"].startswith("no answer within 1 s")


def test_a_lower_goal_is_refused_and_absence_stops_nothing(host, control):
    source = host.source(7120, epoch=2)
    first = host.applied(source)
    with control.lock:  # the store was put back to an older state
        goal = control.goals[source]
        goal["epoch"] = 1
        control.revision += 1
        goal["run"] = "delete"
    control.close()
    control.open()
    wait_for("the refusal", lambda: "goal.refused" in host.log_text())
    assert os.path.exists(f"/proc/{host.pid(source)}")
    with control.lock:
        del control.goals[source]
    control.close()
    control.open()
    orphan = wait_for("the orphan", lambda: control.orphans)[0]
    assert orphan["instance"] == source
    assert Redis(host.address, 7120)("PING") == "PONG"
    assert first["proc"] == "running"


def test_a_goal_is_durable_before_goal_json_says_so(host, control):
    source = host.source(7125)
    host.applied(source)
    path, slots = host.path(source, "goal.json"), host.path(source, "goal.slots")
    wait_for("goal.json follows", lambda: os.path.exists(path))
    assert os.stat(slots).st_mode & 0o777 == 0o600
    with open(path) as f:
        before = f.read()
    inode = os.stat(slots).st_ino
    control.set_goal(source, epoch=3)
    host.applied(source)
    assert durable_goal(host.path(source))["epoch"] == 3
    assert os.stat(slots).st_ino == inode, "it was not written in place"
    host.stop(signal.SIGKILL)
    with open(path, "w") as f:  # it may have been brought up already
        f.write(before)
    with control.lock:
        control.goals[source]["epoch"] = 2
        control.revision += 1
    host.start()
    wait_for("a lower one is refused", lambda: "goal.refused" in host.log_text())
    wait_for("goal.json is brought up", lambda: json.load(open(path))["epoch"] == 3)


def test_goals_of_another_installation_are_refused_whole(host, control):
    source = host.source(7130)
    host.applied(source)
    control.close()
    control.installation = str(uuid.uuid4())
    with control.lock:
        control.goals[source]["installation"] = control.installation
    control.set_goal(source, run="delete", epoch=9)
    control.open()
    wait_for("the refusal", lambda: "goals.refused" in host.log_text())
    assert Redis(host.address, 7130)("PING") == "PONG"


def test_settings_are_changed_without_a_restart(host, control):
    source = host.source(7140)
    run = host.applied(source)["run_id"]
    control.set_goal(source, maxmemory=64 << 20, maxmemory_policy="allkeys-lru")
    o = host.applied(source)
    assert o["run_id"] == run
    conf = open(host.path(source, "redis.conf")).read()
    assert f"maxmemory {64 << 20}" in conf
    client = Redis(host.address, 7140)
    assert f"maxmemory:{64 << 20}" in client("INFO", "memory")
    # one that differs only in its revision costs nothing
    acts = host.log_text().count("act.done")
    control.set_goal(source)
    host.applied(source)
    assert host.log_text().count("act.done") == acts


def test_a_hung_server_is_told_and_left_alone(host, control):
    source = host.source(7150)
    host.applied(source)
    os.kill(host.pid(source), signal.SIGSTOP)
    o = host.until(source, "hung", lambda o: o["proc"] == "hung")
    assert "state T" in o["error"]
    os.kill(host.pid(source), signal.SIGCONT)
    host.until(source, "running again", lambda o: o["proc"] == "running" and not o.get("error"))


def test_a_replica_promoted_by_hand_keeps_its_writes(host, control):
    source, replica, redis = pair(host, 7160)
    host.until(replica, "durable", lambda o: o.get("durable"))
    conf = host.path(replica, "redis.conf")
    sock = [line.split()[1].strip('"') for line in open(conf) if line.startswith("unixsocket ")][0]
    subprocess.run(["redis-cli", "-s", sock, "--user", "tanist-agent", "slaveof", "no", "one"],
                   env={**os.environ, "REDISCLI_AUTH": AGENT_SECRET}, check=True, capture_output=True)
    host.until(replica, "seen as master", lambda o: o["role"] == "master" and not o.get("goal_applied"))
    mine = Redis(host.address, 7161)
    assert mine("SET", "mine", 1) == "OK"
    host.until(replica, "recorded", lambda o: o["recorded_keys"] == 101)
    os.kill(host.pid(replica), signal.SIGKILL)
    o = host.until(replica, "guarded after its restart", lambda o: o.get("guarded") and o["keys"] == 101)
    control.set_goal(replica, demote_accepted=True)
    o = host.applied(replica)
    o = host.until(replica, "it has given up its writes", lambda o: o["role"] == "replica" and
                   o.get("link_up") and o["keys"] == 100)


ACTS = ["write-conf", "start", "kill", "delete-files", "promote", "config-set"]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_an_act_changes_nothing_in_the_end(control, tmp_path, act, when):
    """Needs a build with -Dcrash_points=true; in another one no point is reached."""
    number = 1 + (ACTS.index(act) * 2 + (when == "after"))
    host = Host(control, str(tmp_path), number)
    flag = str(tmp_path / "flag")
    env = {"TANIST_CRASH": f"act.{act}.{when}", "TANIST_CRASH_FLAG": flag}
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
        source = host.source(7200 + number)
        o = host.applied(source)
        fill(Redis(host.address, 7200 + number))
        control.set_goal(source, maxmemory=64 << 20, start_at_once=False, confirmed_run=o["run_id"])
        o = host.applied(source)
        host.until(source, "recorded", lambda x: x.get("recorded_keys") == 100)
        os.kill(host.pid(source), signal.SIGKILL)
        o = host.until(source, "guarded", lambda x: waits(x) and x["run_id"] not in ("", o["run_id"]))
        assert o["marker"] == "intact" and o["keys"] == 100
        control.set_goal(source, epoch=2, confirmed_run=o["run_id"])
        o = host.applied(source)
        assert o["role"] == "master" and o["keys"] == 100
        control.set_goal(source, run="delete")
        host.until(source, "deleted", lambda x: x["proc"] == "deleted" and x.get("goal_applied"))
        assert not os.path.exists(host.path(source))
    finally:
        over.set()
        keeper.join()
        host.end()
    assert "Sanitizer" not in host.log_text() and "runtime error" not in host.log_text()
    if subprocess.run([AGENT, "--crash-points"], capture_output=True).returncode == 0:
        assert os.path.exists(flag), "the point was never reached"
