"""What the benches of a change of source share: writers that follow the source as a Redis client
with Sentinel support does, redis-servers started by hand, and the script that does with them what
tanist does.

The writers are four processes. Each sends one write at a time, 250 in a second, or whatever else
its load says, each to a key of its own. After an error it goes on with the writes that are not
acknowledged: it drops the connection, asks the endpoint (SENTINEL get-master-addr-by-name) and
connects to what that says, every 5 ms until it succeeds. So whatever way the source is changed, the
same client code meets it.
"""
import array
import bisect
import contextlib
import itertools
import multiprocessing
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from typing import Callable, NamedTuple

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from harness import AddressRange, Dev, wait_until  # noqa: E402
from writers import (Connection, Refused, by_eval, by_multi, by_pipeline, by_publish,  # noqa: E402
                     by_set)

WRITERS = 4
RETRY_S = 0.005  # as libraries begin with: 1 ms (Lettuce), 8 ms (go-redis), 50 ms (ioredis)
PORT = 6379
ENDPOINT_PORT = 26379

now = time.monotonic_ns  # one clock for all processes of a machine

FAILED = (OSError, Refused)


def text(answer):
    if isinstance(answer, list):
        return [text(a) for a in answer]
    return answer.decode() if isinstance(answer, bytes) else answer


class Resp(Connection):
    """One that answers in text."""

    def __init__(self, address, port=PORT, limit=5, user=None, password=None):
        super().__init__((address, port), limit)
        if password:
            self("AUTH", user, password)

    def __call__(self, *words):
        return text(self.call(*words))

    def info(self, section="replication"):
        pairs = (line.split(":", 1) for line in self("INFO", section).split("\r\n") if ":" in line)
        return dict(pairs)


def as_number(address):
    return struct.unpack("!I", socket.inet_aton(address))[0]


# The writers.

class Load(NamedTuple):
    """What each writer does."""
    write: Callable = by_set
    rate: int = 250   # writes a second
    batch: int = 1    # sent at once
    size: int = 0     # of a value, at least
    data_mb: int = 0  # what the source holds before the first write


LOADS = {"set": Load(), "eval": Load(by_eval), "multi": Load(by_multi),
         "publish": Load(by_publish),
         "pipeline": Load(by_pipeline, rate=5000, batch=50, size=64, data_mb=100)}


def pair(writer, n, size):
    """Its n-th write: a key that is never written again, and the value."""
    key = b"w%d:%d" % (writer, n)
    return key, key.ljust(size, b"v")


class Writer:
    """One of the writers, in its own process."""

    def __init__(self, number, orders, seen):
        self.number, self.orders, self.seen = number, orders, seen
        self.endpoint = self.server = None

    def serve(self):
        """Each order (endpoint, name, load, number of the first write) is a run, until the next
        message ends it."""
        while order := self.orders.recv():
            try:
                self.run(*order)
            finally:
                self.drop()
            self.orders.recv()
            self.orders.send(self.done)

    def run(self, endpoint, name, load, first):
        self.done = []  # (numbers, due, acknowledged, by)
        self.where, self.name, self.load = endpoint, name, load
        every = 10**9 * load.batch // load.rate
        start = now() + self.number * every // WRITERS
        for n in itertools.count():
            due = max(start + n * every, now())
            if self.orders.poll(max(0, due - now()) / 1e9):
                return
            begin = first + n * load.batch
            if not self.write_until_acknowledged(range(begin, begin + load.batch), due):
                return

    def write_until_acknowledged(self, numbers, due):
        """False when the run is over before all of them are."""
        while True:
            got = set()
            try:
                if self.server is None:
                    self.find()
                pairs = [pair(self.number, n, self.load.size) for n in numbers]
                for i in self.load.write(self.server, pairs):
                    got.add(i)
            except FAILED:
                self.drop(server_only=True)
            if got:
                acknowledged = now()
                self.done.append(([numbers[i] for i in got], due, acknowledged, self.at))
                self.seen[2 * self.number] = self.at
                self.seen[2 * self.number + 1] = acknowledged
            numbers = [n for i, n in enumerate(numbers) if i not in got]
            if not numbers:
                return True
            if self.orders.poll(RETRY_S):
                return False

    def find(self):
        try:
            if self.endpoint is None:
                self.endpoint = Resp(*self.where)
            found = self.endpoint("SENTINEL", "get-master-addr-by-name", self.name)
        except OSError:
            self.endpoint = None
            raise
        if found is None:
            raise Refused("the endpoint does not know it")
        self.server = Resp(found[0], int(found[1]))
        self.at = as_number(found[0])

    def drop(self, server_only=False):
        if self.server is not None:
            self.server.close()
        self.server = None
        if not server_only and self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None


class Writers:
    """All of them, from outside. Use as a context manager."""

    def __enter__(self):
        self.seen = multiprocessing.RawArray("q", 2 * WRITERS)
        self.orders, self.processes, self.first = [], [], 0
        for number in range(WRITERS):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.Process(target=Writer(number, theirs, self.seen).serve,
                                              daemon=True)
            process.start()
            theirs.close()
            self.orders.append(ours)
            self.processes.append(process)
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.join()

    def start(self, endpoint, name, load=LOADS["set"]):
        self.load = load
        for i in range(2 * WRITERS):
            self.seen[i] = 0
        for order in self.orders:
            order.send((endpoint, name, load, self.first))

    def wait_at(self, address, limit=30, since=0):
        """Until each has had a write acknowledged there, after the moment `since`."""
        wanted = as_number(address)
        wait_until(f"all writers write to {address}",
                   lambda: all(self.seen[2 * i] == wanted and self.seen[2 * i + 1] > since
                               for i in range(WRITERS)), limit, every=0.005)

    def stop(self):
        """Every acknowledged write of the run: (numbers, due, acknowledged, by), per writer."""
        for order in self.orders:
            order.send("stop")
        done = [order.recv() for order in self.orders]
        # What was under way in the end is not written again: nobody knows whether it is there.
        self.first += max(map(len, numbers_of(done))) + self.load.batch
        return done


def numbers_of(done):
    """The acknowledged writes of each writer. An array: there may be millions of them."""
    return [array.array("Q", (n for numbers, *_ in writer for n in numbers)) for writer in done]


def longest_wait(done, since, until):
    """The longest that one write waited, from when it was due, among those that were under way
    between the two moments; ms."""
    return max(acknowledged - due for writer in done for _, due, acknowledged, _ in writer
               if acknowledged >= since and due <= until) / 1e6


def longest_standstill(done, since, until):
    """The longest time in which nobody had a write acknowledged; ms."""
    times = sorted(t for writer in done for _, _, t, _ in writer)
    times = times[max(0, bisect.bisect(times, since) - 1):bisect.bisect(times, until) + 1]
    return max(b - a for a, b in zip(times, times[1:])) / 1e6


def reached(done):
    """(acknowledged writes, how long it took from the first to the last of them in ms)."""
    times = [row[2] for writer in done for row in writer]
    return sum(map(len, numbers_of(done))), (max(times) - min(times)) / 1e6


def compare(address, numbers, size):
    """(keys of acknowledged writes that this server does not have, keys of those that it has with
    another value)."""
    server, missing, wrong = Resp(address), set(), set()
    for writer, mine in enumerate(numbers):
        for i in range(0, len(mine), 500):
            pairs = [pair(writer, n, size) for n in mine[i:i + 500]]
            for (key, value), got in zip(pairs, server.call("MGET", *(k for k, _ in pairs))):
                if got is None:
                    missing.add(key)
                elif got != value:
                    wrong.add(key)
    server.close()
    return missing, wrong


def count_missing(address, done):
    """How many acknowledged writes of LOADS["set"] this server does not have."""
    return sum(map(len, compare(address, numbers_of(done), LOADS["set"].size)))


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def write_for_a_while():
    """By chance up to a second longer: servers and agents do things once a second, and no way is
    to meet them always at the same moment."""
    time.sleep(random.uniform(0.2, 1.2))


def fill(address, megabytes):
    """With values that do not compress."""
    server = Resp(address, limit=30)
    for n in range(megabytes):
        # Read to the end, so that all are acknowledged.
        list(by_pipeline(server, [(f"data:{n}:{i}", os.urandom(10_000)) for i in range(100)]))
    server.close()


def wait_copied(source, replicas):
    """Until they have applied all that the source has now."""
    behind = int(Resp(source).info()["master_repl_offset"])
    wait_until("the replicas have all of it", lambda: all(
        applied(Resp(a).info()) >= behind for a in replicas), 60, every=0.02)


@contextlib.contextmanager
def starved(pid, share):
    """The process runs only this share of the time."""
    turn_s, over = 0.05, threading.Event()

    def take_turns():
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            time.sleep(turn_s * (1 - share))
            os.kill(pid, signal.SIGCONT)
            time.sleep(turn_s * share)
    thread = threading.Thread(target=take_turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# Servers started by hand, and their endpoint.

class Endpoint:
    """Answers SENTINEL get-master-addr-by-name with what `address` says, from a process of its
    own."""

    def __init__(self, address):
        self.listener = socket.create_server((address, ENDPOINT_PORT), backlog=64)
        self.where = (address, ENDPOINT_PORT)
        self.record = multiprocessing.RawArray("c", 32)
        self.process = multiprocessing.Process(target=self.serve, daemon=True)
        self.process.start()
        self.listener.close()

    def say(self, address):
        self.record.value = address.encode()

    def serve(self):
        poll, clients = select.epoll(), {}
        poll.register(self.listener, select.EPOLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.listener.fileno():
                    client, _ = self.listener.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    clients[client.fileno()] = client
                    poll.register(client, select.EPOLLIN)
                    continue
                try:
                    asked = clients[fd].recv(4096)  # one request at a time, far below a packet
                except OSError:
                    asked = b""
                if not asked:
                    clients.pop(fd).close()
                    continue
                address = self.record.value
                clients[fd].sendall(b"*2\r\n$%d\r\n%b\r\n$4\r\n%d\r\n" %
                                    (len(address), address, PORT))

    def close(self):
        self.process.kill()
        self.process.join()


class PlainGroup:
    """A source and its replicas, with the settings that tanist gives its servers."""

    def __init__(self, replicas=2):
        self.folder = tempfile.mkdtemp(prefix="tanist-bench-")
        self.range = AddressRange()
        self.servers, self.connections = {}, {}
        self.members = [f"{self.range.net}.{n + 1}" for n in range(replicas + 1)]
        self.source = self.members[0]
        try:
            self.start(self.source)
            for address in self.members[1:]:
                self.start(address, "--replicaof", self.source, str(PORT))
            self.wait_linked()
            self.endpoint = Endpoint(f"{self.range.net}.200")
            self.endpoint.say(self.source)
        except BaseException:
            self.close()
            raise

    @property
    def replicas(self):
        return [m for m in self.members if m != self.source]

    def spawn(self, name, *words):
        home = os.path.join(self.folder, name)
        os.makedirs(home, exist_ok=True)
        self.servers[name] = subprocess.Popen(
            ["redis-server", *words], cwd=home, stdin=subprocess.DEVNULL,
            stdout=open(os.path.join(home, "log"), "ab"), stderr=subprocess.STDOUT)

    def start(self, address, *more):
        self.spawn(address, "--bind", address, "--port", str(PORT), "--protected-mode", "no",
                   "--appendonly", "yes", "--repl-diskless-sync", "no", "--repl-backlog-ttl", "0",
                   "--repl-backlog-size", "64mb", "--repl-ping-replica-period", "1",
                   "--replica-announce-ip", address, *more)

        def connected():
            try:
                self.connections[address] = Resp(address)
                return True
            except OSError:
                return False
        wait_until(f"{address} answers", connected, 30, every=0.005)

    def reconnect(self):
        """Somebody dropped the clients of these servers, and ours with them."""
        for address in self.members:
            self.connections.pop(address).close()
            self.connections[address] = Resp(address)

    def __getitem__(self, address):
        return self.connections[address]

    def kill(self, address):
        self.servers[address].kill()
        self.servers[address].wait()
        self.connections.pop(address).close()

    def start_anew(self, address):
        """Without its data, as a replica."""
        shutil.rmtree(os.path.join(self.folder, address))
        self.start(address, "--replicaof", self.source, str(PORT))
        self.wait_linked()

    def wait_linked(self):
        def linked():
            offset = int(self[self.source].info()["master_repl_offset"])
            seen = [self[m].info() for m in self.replicas]
            return all(s.get("master_link_status") == "up" and s["master_host"] == self.source and
                       int(s["slave_repl_offset"]) >= offset for s in seen)
        wait_until("the replicas are linked", linked, 60, every=0.01)

    def full_resyncs(self):
        return sum(int(self[m].info("stats")["sync_full"]) for m in self.members)

    def close(self):
        if hasattr(self, "endpoint"):
            self.endpoint.close()
        for process in self.servers.values():
            process.kill()
            process.wait()
        self.range.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class TanistGroup:
    """A source and its replicas below a `tanist dev` of their own."""

    def __init__(self, replicas=2):
        self.dev = Dev(start=False)
        self.endpoint = (f"{self.dev.range.net}.253", ENDPOINT_PORT)
        try:
            self.dev.start("--sentinel", "%s:%d" % self.endpoint)
            first = self.dev.create("bench")
            members = [first, *self.dev.replicas("bench", replicas)]
        except BaseException:
            self.dev.close()
            raise
        self.at = {m["ip"][0]: m for m in members}
        self.addresses = list(self.at)
        self.source = self.addresses[0]
        with open(os.path.join(self.dev.folder(first), "redis.conf")) as f:
            self.password = re.search(r"^user tanist-agent .*?>(\S+)", f.read(), re.M).group(1)

    @property
    def replicas(self):
        return [a for a in self.addresses if a != self.source]

    def look(self, address):
        return self.dev.api.get(f"/instances/{self.at[address]['id']}")["instance"]

    def act(self, address, body):
        return self.dev.api.call("POST", f"/instances/{self.at[address]['id']}/action", body)

    def look_for_source(self):
        """What the endpoint says, as the writers hear it."""
        ask = Resp(*self.endpoint)
        self.source = ask("SENTINEL", "get-master-addr-by-name", "bench")[0]
        ask.close()
        return self.source

    def outcome(self, address):
        """How the operation that runs has ended, once it has. Asked for seldom, because meanwhile
        the control plane has work that is measured."""
        def ended():
            seen = self.look(address)
            return seen.get("last_operation") if "operation" not in seen else None
        return wait_until("the operation has ended", ended, 60, every=0.1)

    def wait_ended(self, address):
        last = self.outcome(address)
        assert last["done"], last

    def wait_settled(self):
        """All ACTIVE, and whatever must be on the disk before the next change is there."""
        wait_until("all are active and durable", lambda: all(
            seen["status"] == "ACTIVE" and seen.get("durable") for seen in
            map(self.look, self.addresses)), 60, every=0.05)

    def close(self):
        self.dev.close()


# What the script does, step by step.

def applied(info):
    return int(info["slave_repl_offset"])


def hand_over(group, target):
    """The staged sequence without anything to decide, record or survive. Gives how long the
    critical section was, from the fence to the promotion, in ms."""
    old, new = group[group.source], group[target]
    others = [group[m] for m in group.replicas if m != target]
    for other in others:
        other("SLAVEOF", target, PORT)
    for other in others:
        wait_until("a sibling follows the target", lambda: other.info()["master_link_status"] ==
                   "up", 10, every=0.001)
    old("CONFIG", "SET", "repl-ping-replica-period", 3600)
    began = now()
    old("CLIENT", "PAUSE", 5000, "WRITE")
    old("CONFIG", "SET", "min-slaves-to-write", 100000)
    behind = int(old.info()["master_repl_offset"])
    while applied(new.info()) < behind:
        time.sleep(0.0002)
    old("SLAVEOF", target, PORT)
    frozen = applied(old.info())
    assert applied(new.info()) >= frozen, "a write passed the fence"
    new("SLAVEOF", "NO", "ONE")
    took = (now() - began) / 1e6
    group.source = target
    group.endpoint.say(target)
    old("CLIENT", "UNPAUSE")
    old("CONFIG", "SET", "min-slaves-to-write", 0)
    group.wait_linked()
    old("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    old("CONFIG", "SET", "repl-ping-replica-period", 1)
    return took


def fail_over(group, target):
    """FAILOVER TO; the endpoint learns of it as soon as the target says that it is master."""
    old, new = group[group.source], group[target]
    began = now()
    old("FAILOVER", "TO", target, PORT, "TIMEOUT", 10000)
    wait_until("FAILOVER ends", lambda: new("ROLE")[0] == "master", 15, every=0.0005)
    took = (now() - began) / 1e6
    group.source = target
    group.endpoint.say(target)
    for m in group.replicas:
        group[m]("SLAVEOF", target, PORT)
    group.wait_linked()
    return took


def eject(group):
    """The source is dead: drain, seal, choose by offset, promote, repoint."""
    left = group.replicas
    for m in left:
        while (seen := group[m].info())["master_link_status"] == "up" and \
                seen["slave_read_repl_offset"] != seen["slave_repl_offset"]:
            time.sleep(0.001)
    for m in left:
        group[m]("SLAVEOF", "127.0.0.1", 0)
    winner = max(left, key=lambda m: applied(group[m].info()))
    group[winner]("SLAVEOF", "NO", "ONE")
    group.endpoint.say(winner)
    for m in left:
        if m != winner:
            group[m]("SLAVEOF", winner, PORT)
    return winner


# How long nobody takes writes, as a probe sees it.

class Probe:
    """Asks source and target every 0.3 ms when the source was fenced and the target became master,
    from a process of its own. A source is fenced when min-slaves-to-write says so, or when a writer
    is held by a pause: with four of them that is at most a millisecond later, and 2.5 where they
    send in batches."""

    def __init__(self, source, target, user=None, password=None, pauses=False):
        self.times = multiprocessing.RawArray("q", 2)  # fenced, master; 0: not seen
        ready = multiprocessing.Event()
        self.process = multiprocessing.Process(
            target=self.look, args=(source, target, user, password, pauses, ready), daemon=True)
        self.process.start()
        assert ready.wait(10), "the probe does not get through to the servers"

    def look(self, source, target, user, password, pauses, ready):
        source = Resp(source, user=user, password=password)
        asked = [(source, ("INFO", "clients"), lambda a: "blocked_clients:0\r" not in a)
                 if pauses else
                 (source, ("CONFIG", "GET", "min-slaves-to-write"), lambda a: int(a[1]) >= 1000),
                 (Resp(target, user=user, password=password),
                  ("ROLE",), lambda a: a[0] == "master")]
        ready.set()
        with contextlib.suppress(*FAILED):  # dropped with other clients: then it saw too little
            for i, (server, words, is_so) in enumerate(asked):
                while not is_so(server(*words)):
                    time.sleep(0.0003)
                self.times[i] = now()

    def stop(self):
        """(when the source was seen fenced, how long until the target was master in ms), None
        where the end was not seen."""
        self.process.join(5)
        self.process.kill()
        self.process.join()
        fenced, master = self.times
        return (fenced, (master - fenced) / 1e6) if fenced and master else None
