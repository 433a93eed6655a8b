"""What the benches of a change of source share: writers that follow the source as a Redis client
with Sentinel support does, redis-servers started by hand, and the script that does with them what
tanist does.

The writers are four processes. Each sends one write at a time, 250 in a second, each to a key of
its own, and goes on with the same write after an error: it drops the connection, asks the endpoint
(SENTINEL get-master-addr-by-name) and connects to what that says, every 5 ms until it succeeds. So
whatever way the source is changed, the same client code meets it.
"""
import bisect
import contextlib
import multiprocessing
import os
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
from harness import AddressRange, Dev, wait_until  # noqa: E402

WRITERS, RATE = 4, 250
RETRY_S = 0.005  # as libraries begin with: 1 ms (Lettuce), 8 ms (go-redis), 50 ms (ioredis)
PORT = 6379
ENDPOINT_PORT = 26379

now = time.monotonic_ns  # one clock for all processes of a machine


class ServerError(Exception):
    """The server answered with an error."""


class Resp:
    """A connection to a Redis server, as cheap as Python has it: it stands in the critical
    section."""

    def __init__(self, address, port=PORT, limit=5, user=None, password=None):
        self.socket = socket.create_connection((address, port), timeout=limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        if password:
            self("AUTH", user, password)

    def __call__(self, *words):
        self.send(*words)
        return self.answer()

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) +
                            b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))

    def more(self):
        read = self.socket.recv(1 << 16)
        if not read:
            raise ConnectionError("closed by the server")
        self.got += read

    def line(self):
        while (end := self.got.find(b"\r\n")) < 0:
            self.more()
        line, self.got = self.got[:end], self.got[end + 2:]
        return line

    def answer(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise ServerError(rest.decode())
        if rest == b"-1":
            return None
        if kind == b"$":
            while len(self.got) < int(rest) + 2:
                self.more()
            text, self.got = self.got[:int(rest)], self.got[int(rest) + 2:]
            return text.decode()
        return [self.answer() for _ in range(int(rest))]

    def info(self, section="replication"):
        pairs = (line.split(":", 1) for line in self("INFO", section).split("\r\n") if ":" in line)
        return dict(pairs)

    def close(self):
        self.socket.close()


FAILED = (OSError, ServerError)


def as_number(address):
    return struct.unpack("!I", socket.inet_aton(address))[0]


# The writers.

class Writer:
    """One of the writers, in its own process."""

    def __init__(self, number, orders, seen):
        self.number, self.orders, self.seen = number, orders, seen
        self.endpoint = self.server = None

    def serve(self):
        """Each order (endpoint, name, first key) is a run, until the next message ends it."""
        while order := self.orders.recv():
            try:
                self.run(*order)
            finally:
                self.drop()
            self.orders.recv()
            self.orders.send(self.done)

    def run(self, endpoint, name, key):
        self.done = []  # (key, due, acknowledged, by)
        self.where, self.name = endpoint, name
        start = now() + self.number * 10**9 // RATE // WRITERS
        while True:
            due = max(start + len(self.done) * 10**9 // RATE, now())
            if self.orders.poll(max(0, due - now()) / 1e9):
                return
            if not self.write_until_acknowledged(f"w{self.number}:{key + len(self.done)}", due):
                return

    def write_until_acknowledged(self, key, due):
        while True:
            try:
                if self.server is None:
                    self.find()
                assert self.server("SET", key, key) == "OK"
                acknowledged = now()
                self.done.append((key, due, acknowledged, self.at))
                self.seen[2 * self.number] = self.at
                self.seen[2 * self.number + 1] = acknowledged
                return True
            except FAILED:
                self.drop(server_only=True)
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
            raise ServerError("the endpoint does not know it")
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
        self.orders, self.processes, self.key = [], [], 0
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

    def start(self, endpoint, name):
        for i in range(2 * WRITERS):
            self.seen[i] = 0
        for order in self.orders:
            order.send((endpoint, name, self.key))

    def wait_at(self, address, limit=30, since=0):
        """Until each has had a write acknowledged there, after the moment `since`."""
        wanted = as_number(address)
        wait_until(f"all writers write to {address}",
                   lambda: all(self.seen[2 * i] == wanted and self.seen[2 * i + 1] > since
                               for i in range(WRITERS)), limit, every=0.005)

    def stop(self):
        """Every acknowledged write of the run: (key, due, acknowledged, by), per writer."""
        for order in self.orders:
            order.send("stop")
        done = [order.recv() for order in self.orders]
        self.key += max(len(d) for d in done)
        return done


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


def count_missing(address, done, user=None, password=None):
    """How many acknowledged writes this server does not have."""
    server, missing = Resp(address, user=user, password=password), 0
    keys = [row[0] for writer in done for row in writer]
    for i in range(0, len(keys), 500):
        some = keys[i:i + 500]
        missing += sum(got != key for got, key in zip(server("MGET", *some), some))
    server.close()
    return missing


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))]


def write_for_a_while():
    """By chance up to a second longer: servers and agents do things once a second, and no way is
    to meet them always at the same moment."""
    time.sleep(random.uniform(0.2, 1.2))


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

    def wait_ended(self, address):
        """Until no operation runs; how the last one ended."""
        def ended():
            seen = self.look(address)
            return seen.get("last_operation") if "operation" not in seen else None
        last = wait_until("the operation has ended", ended, 60, every=0.02)
        assert last["done"], last
        return last

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

def text(answer):
    return answer.decode() if isinstance(answer, bytes) else answer


class Probe:
    """Asks source and target every 0.3 ms when the source was fenced and the target became master,
    from a process of its own. A source is fenced when min-slaves-to-write says so, or when a writer
    is held by a pause: with four of them that is at most a millisecond later."""

    def __init__(self, source, target, user=None, password=None, pauses=False):
        self.times = multiprocessing.RawArray("q", 2)  # fenced, master; 0: not seen
        ready = multiprocessing.Event()
        self.process = multiprocessing.Process(
            target=self.look, args=(source, target, user, password, pauses, ready), daemon=True)
        self.process.start()
        assert ready.wait(10), "the probe does not get through to the servers"

    def look(self, source, target, user, password, pauses, ready):
        source = Resp(source, user=user, password=password)
        asked = [(source, ("INFO", "clients"), lambda a: "blocked_clients:0\r" not in text(a))
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
