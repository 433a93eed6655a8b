"""Clients of the Redis world follow a handover and an eject by the discovery endpoint alone, with the
Sentinel support that their library has and its standard settings: the program is not restarted, and
what it was told is written is there.

Each client is a program of its own in tests/clients, which writes numbered keys a few milliseconds
apart. ioredis and node-redis 5 come from the npm registry, held to the hashes of the lock file;
Debian's node-redis, 4.5.1, knows no Sentinels.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from groups import Group
from harness import BUILD, Dev, wait_until

CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients")
LIMIT = 30


def install():
    """The folder whose node_modules has the libraries of the lock file; else why there is none.
    Kept in the build folder, one for each lock file."""
    if not shutil.which("node") or not shutil.which("npm"):
        return None, "nodejs and npm are not installed"
    files = [os.path.join(CLIENTS, f) for f in ("package.json", "package-lock.json")]
    digest = hashlib.sha256(b"".join(open(f, "rb").read() for f in files)).hexdigest()[:12]
    folder = os.path.join(BUILD, f"npm-clients-{digest}")
    os.makedirs(folder, exist_ok=True)
    with open(folder + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(os.path.join(folder, "complete")):
            return folder, None
        for f in files:
            shutil.copy(f, folder)
        try:
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1",
                 "--fetch-timeout=20000"],
                cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=180)
        except subprocess.TimeoutExpired:
            return None, "npm ci did not end within 180 s"
        if done.returncode:
            said = re.findall(r"npm ERR! (?:code|request to|errno) (.*)|npm error (?:code|request to) (.*)",
                              done.stderr)
            return None, "npm ci: " + "; ".join("".join(s) for s in said)
        open(os.path.join(folder, "complete"), "w").close()
    return folder, None


@pytest.fixture(scope="session")
def npm():
    folder, why = install()
    if folder is None:
        pytest.skip(f"no libraries from the npm registry ({why}); Debian's node-redis 4.5.1 has no "
                    "Sentinel support to test in their place")
    return folder


class Client:
    """A program that writes. acked: the numbers it was told are written, in order."""

    def __init__(self, words, port, name, prefix, more=None, modules=None):
        self.prefix, self.acked, self.errors, self.gap = prefix, [], [], 0.0
        self.other, self.news = [], queue.Queue()
        env = dict(os.environ, NODE_PATH=os.path.join(modules, "node_modules")) if modules else None
        self.process = subprocess.Popen(
            [*words, str(port), name, prefix, *([json.dumps(more)] if more else [])], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        last = None
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "ok":
                now = time.monotonic()
                self.gap = max(self.gap, now - (last or now))
                last = now
                self.acked.append(int(rest))
            elif word == "error":
                self.errors.append(json.loads(rest.partition(" ")[2]))
            elif line != "end\n":
                self.other.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join(10)
        self.process.stdin.close()
        self.process.stdout.close()

    def story(self):
        return f"{len(self.acked)} acked, errors {self.errors[-5:]}, {''.join(self.other[-20:])}"

    def goes_on(self, count=25, limit=LIMIT):
        """So many more writes are acknowledged."""
        wanted = len(self.acked) + count
        try:
            wait_until("the client writes", lambda: len(self.acked) >= wanted, limit)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.story()}") from None

    def stop(self):
        """Its own end, after the write under way; it has to be the program that we started."""
        self.process.stdin.close()
        assert self.process.wait(LIMIT) == 0, self.story()
        self.reader.join(10)
        assert self.acked == list(range(len(self.acked)))

    def found(self, connection):
        """The numbers whose key is there with its value."""
        have = set()
        for start in range(0, len(self.acked), 1000):
            part = self.acked[start:start + 1000]
            values = connection.mget([f"{self.prefix}{n}" for n in part])
            have.update(n for n, value in zip(part, values) if value == str(n))
        return have


PYTHON = [sys.executable if sys.executable.startswith("/usr/bin/") else "/usr/bin/python3",
          os.path.join(CLIENTS, "redis_py.py")]
IOREDIS = ["node", os.path.join(CLIENTS, "ioredis.js")]
NODE_REDIS = ["node", os.path.join(CLIENTS, "node-redis.js")]
# ioredis by default looks again only when its connection ends; failoverDetector listens beside it.
# It is not for a source that is gone: +switch-master ends the client for good while it looks for
# one (5.11.1, SentinelConnector: disconnect() while connect() waits for an answer).
DETECTOR = "ioredis-detector"
WAYS = {
    "redis-py": (PYTHON, None),
    "ioredis": (IOREDIS, None),
    DETECTOR: (IOREDIS, {"failoverDetector": True}),
    "node-redis": (NODE_REDIS, None),
}


@pytest.fixture(params=WAYS)
def start(request):
    """start(dev, name) gives a Client of this kind that writes to the group of that name."""
    words, more = WAYS[request.param]
    modules = None if words is PYTHON else request.getfixturevalue("npm")

    def start(dev, name):
        return Client(words, dev.discovery_port, name, f"{request.param}:", more, modules)
    return start


@pytest.fixture(scope="module")
def dev():
    # A dead server is left alone: the test decides, not the restart.
    with Dev(discovery=True, settings=["agent.restart_delay=60000"]) as d:
        yield d


@pytest.fixture(scope="module")
def group(dev):
    return Group(dev)


def test_a_handover_is_followed(dev, group, start, record_property):
    with start(dev, group.name) as client:
        client.goes_on()
        for _ in range(3):
            target = group.replicas()[0]
            dev.promote(target)
            client.goes_on()
            assert group.source() is target
        client.stop()
    group.settle()
    record_property("longest_gap_ms", round(1000 * client.gap))
    record_property("errors", sorted(set(client.errors)))
    for member in group.members:
        group.wait_copied()
        missing = set(client.acked) - client.found(dev.redis(member))
        assert not missing, (member["name"], sorted(missing)[:10], client.story(), group.story())


@pytest.fixture()
def doomed(dev, request):
    """A group whose source is going to die."""
    g = Group(dev, name=f"doomed-{request.node.callspec.id}")
    yield g
    for member in g.members:
        with contextlib.suppress(AssertionError):
            dev.tanist("delete", member["id"], "--group", "--wait")


def ask_until_done(dev, source):
    """Refused until the agent has seen that the server is gone."""
    end = time.monotonic() + LIMIT
    while True:
        done = dev.tanist("eject", source["id"], check=False)
        if done.returncode == 0:
            return
        assert "HTTP 400" in done.stderr and time.monotonic() < end, (done.stderr, dev.words())


@pytest.mark.parametrize("start", [w for w in WAYS if w != DETECTOR], indirect=True)
def test_an_eject_is_followed(dev, doomed, start, record_property):
    source, replicas = doomed.members[0], doomed.members[1:]
    with start(dev, doomed.name) as client:
        client.goes_on(100)
        os.kill(dev.pid(source), signal.SIGKILL)
        # What a replica has now it had received: all of that is on whichever wins.
        received = set().union(*(client.found(dev.redis(r)) for r in replicas))
        told = len(client.acked)
        ask_until_done(dev, source)
        client.goes_on()
        client.stop()
    winner = [r for r in replicas if dev.source_of(r) == r["id"]][0]
    found = client.found(dev.redis(winner))
    record_property("longest_gap_ms", round(1000 * client.gap))
    record_property("errors", sorted(set(client.errors)))
    record_property("lost", told - len(found.intersection(client.acked[:told])))
    assert received and received <= found, (sorted(received - found)[:10], client.story())
    missing = set(client.acked[told:]) - found
    assert not missing, (sorted(missing)[:10], client.story(), doomed.story())


# redis-cli, as an operator has it open.

def cli(dev, *words):
    return subprocess.run(["redis-cli", "-p", str(dev.discovery_port), *words], capture_output=True,
                          text=True, timeout=LIMIT, check=True).stdout.split()


def test_redis_cli_sees_the_switch(dev, group):
    group.settle()
    old, target = group.source(), group.replicas()[0]
    listener = subprocess.Popen(
        ["redis-cli", "-p", str(dev.discovery_port), "psubscribe", "+switch-*"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        heard = queue.Queue()
        threading.Thread(target=lambda: [heard.put(line.strip()) for line in listener.stdout],
                         daemon=True).start()
        while heard.get(timeout=LIMIT) != "1":  # the number of its subscriptions: it listens
            pass
        assert cli(dev, "sentinel", "get-master-addr-by-name", group.name) == [old["ip"][0], "6379"]
        dev.promote(target)
        assert cli(dev, "sentinel", "get-master-addr-by-name", group.name) == [target["ip"][0], "6379"]
        # The name is the group's: it outlives each source. And so is the id of any member.
        assert cli(dev, "sentinel", "get-master-addr-by-name", old["id"]) == [target["ip"][0], "6379"]
        told = [heard.get(timeout=LIMIT) for _ in range(4)]
        assert told == ["pmessage", "+switch-*", "+switch-master",
                        f"{group.name} {old['ip'][0]} 6379 {target['ip'][0]} 6379"]
    finally:
        listener.kill()
        listener.wait()
        listener.stdout.close()
