"""What the benches of the control plane share: a tanistd of a release build, a store filled with
any number of instances, hosts that report them without servers (tests/api/model_agent.py), wrk,
and memory as the kernel counts it.
"""
import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tests"), os.path.join(HERE, "..", "tests", "api")]
from harness import BUILD, Api, free_port, wait_until  # noqa: E402
from model_agent import ModelAgent  # noqa: E402

PER_HOST = 250  # instances of one host, which is also its pool of addresses


def pool(n):
    return f"127.120.{n}.1-127.120.{n}.{PER_HOST}"


def sha1(of):
    return hashlib.sha1(of.encode()).hexdigest()


def run_of(instance, start=0):
    """The run id of its server, which has been started that often since its first start."""
    return sha1(f"run {start} of {instance}")


class Player(ModelAgent):
    """A host whose instances all run, from their first goal on. After the first report it tells
    what has changed and nothing else, as the real agent does."""

    def __init__(self, server, n, start=0):
        super().__init__(server.address, server.token, [("redis", "7.0.15")], pool=pool(n))
        self.about["name"] = f"host-{n}"
        self.host = str(uuid.uuid5(uuid.NAMESPACE_DNS, self.about["name"]))
        self.about["id"] = self.host
        self.start_number, self.session_full, self.news = start, True, []

    def follow(self, answer):
        super().follow(answer)
        self.news = answer.get("goals", [])
        self.released = set(self.goals)

    def report(self):
        self.seq += 1
        goals = list(self.goals.values()) if self.session_full else self.news
        message = {"wire": 1, "host": self.host, "session": self.session, "seq": self.seq,
                   "full": self.session_full, "observations": [self.observe(g) for g in goals]}
        if self.session_full:
            message["about"] = self.about
        if self.installation:
            message["installation"] = self.installation
        self.session_full = self.call("POST", "/agent/v1/report", message).get("want_full", False)
        for goal in goals:
            if goal["run"] == "delete":
                del self.goals[goal["instance"]]

    def running(self, goal):
        return dict(super().running(goal), run_id=run_of(goal["instance"], self.start_number))

    def turn(self, wait_s=0):
        """What run() does again and again: fetches goals, and reports."""
        self.follow(self.call("GET", f"/agent/v1/goals?host={self.host}&after={self.revision}"
                              f"&watch={self.watch}&wait={wait_s}"))
        self.report()

    def report_all(self):
        """Everything it has, as after a start of its own."""
        self.session_full = True
        self.report()
        self.turn()
        self.session_full = True
        self.report()


class Server:
    """tanistd on `folder`. No host falls silent, so a report need not be repeated."""

    def __init__(self, folder, *settings, env=None):
        self.folder, self.address = folder, f"127.0.0.1:{free_port()}"
        words = [os.path.join(BUILD, "tanistd"), "--dir", folder, "--listen", self.address]
        for setting in ("quota.instances=1000000", "quota.volumes_gb=1000000", "log.level=warn",
                        "agent.silent_after=3600", *settings):
            words += ["--set", setting]
        self.process = subprocess.Popen(words, env=dict(os.environ, **(env or {})))
        self.url = f"http://{self.address}/v1.0/dev"
        self.api = Api(self.url)
        try:
            wait_until("tanistd is ready", self.ready, 60)
        except BaseException:
            self.process.kill()
            raise
        with open(os.path.join(folder, "agent.token")) as f:
            self.token = f.read().strip()

    def ready(self):
        assert self.process.poll() is None, "tanistd ended before it was ready"
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz"):
                return True
        except OSError:
            return False

    def memory(self):
        return memory_mb(self.process.pid)

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.address}/metrics") as answer:
            return answer.read().decode()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def create(server, name):
    status, body = server.api.call("POST", "/instances", {
        "instance": {"name": name, "flavorRef": "1", "volume": {"size": 1},
                     "datastore": {"type": "redis"}}})
    assert status == 200, body
    return body["instance"]["id"]


def active(server, instance):
    return server.api.get(f"/instances/{instance}")["instance"]["status"] == "ACTIVE"


def fill(folder, count):
    """A store with `count` ACTIVE groups of one, spread over hosts of PER_HOST. The first is made
    by tanistd itself, and its record is the pattern of the others."""
    with Server(folder) as server:
        player = Player(server, 0)
        player.report()
        wait_until("the host is known", lambda: server.api.get("/datastores")["datastores"], 10)
        first = create(server, "instance-00000")
        wait_until("the first instance is active",
                   lambda: player.turn() or active(server, first), 10)
    with sqlite3.connect(os.path.join(folder, "tanist.db")) as db:
        (text, revision), = db.execute(
            "SELECT value, revision FROM kv WHERE key LIKE 'group/%'").fetchall()
        (host,), = db.execute("SELECT value FROM kv WHERE key LIKE 'host/%'").fetchall()
        for n in range(1, -(-count // PER_HOST)):
            db.execute("INSERT INTO kv (key, value, revision) VALUES (?, ?, ?)",
                       (f"host/host-{n}", host_record(host, n), revision))
        db.executemany("INSERT INTO kv (key, value, revision) VALUES (?, ?, ?)",
                       (group_record(text, i, revision) for i in range(1, count)))


def host_record(pattern, n):
    host = json.loads(pattern)
    name = f"host-{n}"
    return json.dumps(dict(host, name=name, addresses=pool(n),
                           id=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)))).encode()


def group_record(pattern, i, revision):
    group = json.loads(pattern)
    member, = group["members"]
    ids = {group["id"]: str(uuid.uuid4()), member["id"]: str(uuid.uuid4())}
    group["source_run"] = run_of(ids[member["id"]])
    group["history"][0]["replid"] = sha1(ids[group["id"]])
    member.update(host=f"host-{i // PER_HOST}",
                  address=f"127.120.{i // PER_HOST}.{i % PER_HOST + 1}",
                  created=member["created"] + i)
    text = json.dumps(group).replace("instance-00000", f"instance-{i:05d}")
    for old, new in ids.items():
        text = text.replace(old, new)
    return f"group/{ids[group['id']]}", text.encode(), revision


def report_all(server, count, start=0):
    """Every instance is observed: all hosts report, once. start: see run_of(); with another
    number than before all servers have been started anew, and each group is committed again."""
    for n in range(-(-count // PER_HOST)):
        Player(server, n, start).report_all()


def memory_mb(pid):
    """(private anonymous, RSS) in MB."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        kb = {k: int(v) for k, v in re.findall(r"^(\w+):\s+(\d+) kB", f.read(), re.M)}
    return kb["Anonymous"] / 1024, kb["Rss"] / 1024


def wrk(url, seconds, script=None):
    """One run of 32 connections: requests, requests per second, p50 and p99 in ms."""
    words = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency"]
    out = subprocess.run(words + (["-s", script] if script else []) + [url], check=True,
                         capture_output=True, text=True).stdout
    assert "Socket errors" not in out and (script or "Non-2xx" not in out), out

    def ms(percent):
        value, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return {"requests": int(re.search(r"(\d+) requests in", out).group(1)),
            "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            "p50": ms(50), "p99": ms(99)}
