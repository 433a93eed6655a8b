"""What the tests with real servers share: a `tanist dev` of their own on addresses of their own,
the API, the servers' own words, and waiting with a limit.

Everything a test starts is stopped by the handle it was started with; nothing is found by name.
"""
import contextlib
import fcntl
import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import urllib.parse

import redis

BUILD = os.environ.get("TANIST_BUILD") or os.path.join(os.path.dirname(__file__), "..", "build")
BUILD = os.path.abspath(BUILD)
TANIST = os.path.join(BUILD, "tanist")
# The kind of server that is created where a test names none; ./check --all has it in PATH.
DATASTORE = os.environ.get("TANIST_TEST_DATASTORE", "redis")


def durable_goal(folder):
    """The goal that the agent of an instance's folder would find if it started now: the highest,
    in goal.slots before goal.json says the same (src/agent/goal_file.c)."""
    goals, slots = [], b""
    with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, "goal.json")) as f:
        goals.append((0, json.load(f)))
    with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, "goal.slots"), "rb") as f:
        slots = f.read()
    for at in (0, len(slots) // 2) if slots else ():
        magic, turn, size, _ = struct.unpack_from("<8sQQQ", slots, at)
        with contextlib.suppress(ValueError):  # it is being written
            if magic == b"TANGOAL1":
                goals.append((turn, json.loads(slots[at + 32:at + 32 + size])))
    return max(goals, key=lambda g: (g[1]["epoch"], g[1]["revision"], g[0]))[1]


def wait_until(what, probe, limit=20.0, every=0.02):
    """Calls probe() until it gives something true, and returns that; fails after `limit` seconds
    with what was waited for and what probe() gave last."""
    end = time.monotonic() + limit
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {limit} s: {what} (last: {got!r})")
        time.sleep(every)


def attempt(action):
    """What action() gives, or None when a server is not there (yet)."""
    try:
        return action()
    except (redis.RedisError, OSError, http.client.HTTPException, AssertionError, ValueError):
        return None


def free_port(address="127.0.0.1"):
    """Below the ports that the kernel gives to connections: one of them might take it before the
    program that is to listen there has started, or while it is down."""
    while True:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((address, random.randint(10000, 32000)))
            return s.getsockname()[1]


def is_free(lock):
    """Nobody holds this lock file."""
    with open(lock) as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class AddressRange:
    """127.A.B.1 to 127.A.B.250, for this test alone: held by a listener on 127.A.B.254."""

    def __init__(self):
        for _ in range(1000):
            net = f"127.{random.randint(80, 250)}.{random.randint(0, 255)}"
            holder = socket.socket()
            try:
                holder.bind((f"{net}.254", 6))
                holder.listen(1)
                for n in range(1, 13):  # a server that somebody left behind
                    with socket.socket() as probe:
                        probe.bind((f"{net}.{n}", 6379))
            except OSError:
                holder.close()
                continue
            self.net, self.holder = net, holder
            return
        raise AssertionError("no free range of loopback addresses")

    def __str__(self):
        return f"{self.net}.1-{self.net}.250"

    def close(self):
        self.holder.close()


class Api:
    """The Trove API by hand, for what no client sends."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.host, self.base = parts.netloc, parts.path

    def call(self, method, path, body=None, headers=None, limit=30):
        connection = http.client.HTTPConnection(self.host, timeout=limit)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        with contextlib.closing(connection):
            connection.request(method, self.base + path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None

    def get(self, path):
        status, body = self.call("GET", path)
        assert status == 200, (path, status, body)
        return body


class Crash:
    """Where tanistd or the agent is to stop next (src/base/crash.h), one point after another in
    one life. Dev(env=crash.env) knows of it; without crash points in the build nothing stops."""

    def __init__(self):
        self.own = tempfile.TemporaryDirectory(prefix="tanist-crash-")
        self.wanted = os.path.join(self.own.name, "wanted")
        self.flag = os.path.join(self.own.name, "flag")
        self.env = {"TANIST_CRASH": "@" + self.wanted, "TANIST_CRASH_FLAG": self.flag,
                    "TANIST_CRASH_SIGNAL": "STOP"}

    def arm(self, point):
        """Whoever comes there next stops. None: nobody."""
        with open(self.wanted + ".new", "w") as f:
            f.write(point or "")
        os.rename(self.wanted + ".new", self.wanted)
        for path in (self.flag + ".passes", self.flag):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def stopped(self):
        """The process that stands still at the point, or None."""
        text = attempt(lambda: open(self.flag).read()) or ""
        return int(text) if text.endswith("\n") and attempt(
            lambda: process_state(int(text))) == "T" else None

    def reached(self, limit=30):
        return wait_until("somebody comes to the point", self.stopped, limit, every=0.002)

    def go_on(self, then=None):
        """The one that stands still goes on, and stops next at `then`."""
        pid = self.stopped()
        self.arm(then)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def close(self):
        self.go_on()
        self.own.cleanup()


def crash_points():
    """The points of tanistd and the agent; none at all in a build without -Dcrash_points=true."""
    found = []
    for program in ("tanistd", "tanist-agent"):
        done = subprocess.run([os.path.join(BUILD, program), "--crash-points"], text=True,
                              capture_output=True, timeout=30)
        assert done.returncode in (0, 2), done.stderr
        found += done.stdout.split()
    return found


def process_state(pid):
    """The letter of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def servers_below(folder):
    """Their pids: servers that run below this folder, by the folder they are in."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as f:
                first = f.read()
            cwd = os.readlink(f"/proc/{name}/cwd")
        except OSError:
            continue
        if b"-server" in first.split(b"\0")[0] and cwd.startswith(folder + "/"):
            found.append(int(name))
    return found


class Dev:
    """One `tanist dev`. Use as a context manager, or stop() it."""

    def __init__(self, folder=None, settings=(), env=None, start=True, discovery=False):
        self.own = tempfile.TemporaryDirectory(prefix="tanist-test-") if folder is None else None
        self.dir = folder or os.path.join(self.own.name, "state")
        self.range = AddressRange()
        self.listen = f"127.0.0.1:{free_port()}"
        self.settings = list(settings)
        # Off unless start("--sentinel", ...): the default address is one for the whole machine.
        # None: as tanist dev does it by itself.
        self.discovery = "discovery.listen="
        self.discovery_port = free_port() if discovery else None
        if discovery:
            self.discovery += f"127.0.0.1:{self.discovery_port}"
        self.env = dict(os.environ, **(env or {}))
        self.process = None
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, *more, limit=60):
        words = [TANIST, "dev", "--dir", self.dir, "--listen", self.listen,
                 "--addresses", str(self.range), *more]
        for setting in [f"redis.default_datastore={DATASTORE}",
                        *filter(None, [self.discovery]), *self.settings]:
            words += ["--set", setting]
        os.makedirs(os.path.dirname(self.dir), exist_ok=True)
        self.log = open(self.dir + ".dev.log", "ab")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, env=self.env)
        self.url = None
        end = time.monotonic() + limit
        for line in self.process.stdout:
            if line.startswith(b"ready "):
                self.url = line.split()[1].decode()
                break
            assert time.monotonic() < end, "tanist dev was not ready in time"
        assert self.url, "tanist dev ended before it was ready: " + self.words()
        self.api = Api(self.url)

    def words(self):
        """What dev and its two programs said last, for messages."""
        text = ""
        for path in (self.dir + ".dev.log", self.dir + "/tanistd.log", self.dir + "/agent.log"):
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += f"--- {path}\n" + "".join(f.readlines()[-15:])
        return text

    def stop(self, keep_servers=False, limit=60):
        """Ctrl-C; with keep_servers the servers run on only if start() was told --keep-servers."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(limit)
        self.process.stdout.close()
        self.log.close()
        self.process = None
        return status

    def program_pid(self, program):
        """Of "tanistd" or "agent", as its lock says; it may be gone."""
        with open(os.path.join(self.dir, program, "lock")) as f:
            return int("".join(re.findall(r"\d+", f.read())[:1]))

    def kill_program(self, program):
        """SIGKILL of "tanistd" or "agent"; returns when dev has started it again."""
        old = self.program_pid(program)
        os.kill(old, signal.SIGKILL)
        wait_until(f"{program} runs again",
                   lambda: attempt(lambda: self.program_pid(program)) not in (None, old)
                   and attempt(lambda: self.api.get("/instances")) is not None)

    def kill(self):
        """SIGKILL of dev and its two programs; the servers run on."""
        self.process.kill()
        for program in ("tanistd", "agent"):
            lock = os.path.join(self.dir, program, "lock")
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.program_pid(program), signal.SIGKILL)
            wait_until(f"{program} is gone", lambda: is_free(lock), 10)
        self.process.wait(10)
        self.process.stdout.close()
        self.log.close()
        self.process = None

    def close(self):
        if self.process is not None:
            self.stop()
        for pid in self.server_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.range.close()
        self.remove_sockets()
        if self.own:
            self.own.cleanup()

    def remove_sockets(self):
        """The agent's folder of sockets is elsewhere, so that their paths are short; an agent that
        was killed left it behind."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            with open(os.path.join(self.dir, "agent", "host.json")) as f:
                host = json.load(f)["id"]
            above = self.env.get("XDG_RUNTIME_DIR")
            shutil.rmtree(os.path.join(above, f"tanist-{host[:8]}") if above else
                          f"/tmp/tanist-{os.geteuid()}-{host[:8]}", ignore_errors=True)

    def server_pids(self):
        return servers_below(self.dir)

    # What a person does.

    def tanist(self, *words, check=True, limit=120, env=None):
        done = subprocess.run([TANIST, *words], env=dict(self.env, TANIST_URL=self.url, **(env or {})),
                              capture_output=True, text=True, timeout=limit,
                              stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0, (words, done.returncode, done.stdout, done.stderr,
                                          self.words())
        return done

    def create(self, name, *more):
        self.tanist("create", name, "1", "--size", "1", "--wait", *more)
        return self.show(name)

    def replicas(self, source, count, name="replica"):
        self.tanist("create", name, "--replica-of", source, "--replica-count", str(count), "--wait")
        names = [name] if count == 1 else [f"{name}-{i + 1}" for i in range(count)]
        return [self.show(n) for n in names]

    def show(self, name):
        return json.loads(self.tanist("show", name, "--json").stdout)["instance"]

    def instances(self):
        return self.api.get("/instances/detail?limit=1000")["instances"]

    def events(self, after=0):
        return self.api.get(f"/events?after={after}&limit=1000")["events"]

    def wait_status(self, name, status, limit=60):
        try:
            return wait_until(
                f"{name} is {status}",
                lambda: (lambda i: i if i["status"] == status else None)(self.show(name)),
                limit, every=0.1)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.show(name)}\n{self.words()}") from None

    # The same through the API, without a process for each.

    def look(self, instance):
        return self.api.get(f"/instances/{instance['id']}")["instance"]

    def ask(self, instance, action, **body):
        """An action: its status and the message of its refusal."""
        status, answer = self.api.call("POST", f"/instances/{instance['id']}/action",
                                       {action: body})
        return status, list(answer.values())[0].get("message", "") if answer else ""

    def begin(self, instance, action, patience=0, **body):
        """Asks for the action, which must be accepted; returns what waits for its outcome. Right
        after a change the control plane may not have heard yet that all is well again: `patience`
        is for how many seconds a 422 is no failure."""
        before, end = self.look(instance).get("last_operation"), time.monotonic() + patience
        status, message = self.ask(instance, action, **body)
        while status == 422 and time.monotonic() < end:
            time.sleep(0.05)
            status, message = self.ask(instance, action, **body)
        assert status == 202, (action, status, message)
        return lambda limit=60: self.outcome(instance, before, limit)

    def outcome(self, instance, before, limit=60):
        """last_operation, once it is another one than `before`."""
        def ended():
            now = self.look(instance)
            last = now.get("last_operation")
            return last if last and last != before and not now.get("operation") else None
        try:
            return wait_until("the operation has ended", ended, limit, every=0.01)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.look(instance)}\n{self.words()}") from None

    def promote(self, instance, limit=60, patience=0):
        """A handover to it that is done."""
        last = self.begin(instance, "promote_to_replica_source", patience)(limit)
        assert last["done"], (last, self.words())
        return last

    def source_of(self, instance):
        """The id of the source of its group, as the API says."""
        now = self.look(instance)
        return now["replica_of"]["id"] if now.get("replica_of") else now["id"]

    # What the servers say.

    def redis(self, instance, **options):
        options.setdefault("socket_timeout", 10)
        return redis.Redis(host=instance["ip"][0], port=instance.get("port", 6379),
                           decode_responses=True, **options)

    def agent_redis(self, instance):
        """As the agent: what an operator with the host's files could do by hand."""
        with open(os.path.join(self.folder(instance), "redis.conf")) as f:
            words = [line.split() for line in f if line.startswith("user tanist-agent ")][0]
        password = [w[1:] for w in words if w.startswith(">")][0]
        return self.redis(instance, username="tanist-agent", password=password)

    def info(self, instance):
        return self.redis(instance).info()

    def pid(self, instance):
        return int(self.info(instance)["process_id"])

    def folder(self, instance):
        return os.path.join(self.dir, "agent", "instances", instance["id"])

    def kill_server(self, instance, signum=signal.SIGKILL):
        pid = self.pid(instance)
        os.kill(pid, signum)
        return pid
