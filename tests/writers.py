"""Clients that write at a fixed rate while the source changes, and remember exactly what they were
promised (tests of handover and eject; their benches share the connection and the ways to write).

A writer finds the source through the discovery endpoint, as any client of Sentinel does, and never
sends a write twice: an error is a write that was not acknowledged, a lost answer one of which
nothing is known. Whatever it was told "OK" for must be on the source in the end, and on every
replica. Each writer is a thread with a socket and nothing between, so that no library retries.
"""
import contextlib
import socket
import threading
import time

from harness import wait_until


class Refused(Exception):
    """The server answered with an error: the write was not carried out."""


class Connection:
    """RESP over one socket; any failure leaves it unusable."""

    def __init__(self, address, limit=5.0):
        self.socket = socket.create_connection(address, timeout=limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self):
        with contextlib.suppress(OSError):
            self.file.close()
            self.socket.close()

    def send(self, *commands):
        def part(word):
            word = word if isinstance(word, bytes) else str(word).encode()
            return b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(b"".join(
            b"*%d\r\n" % len(words) + b"".join(map(part, words)) for words in commands))

    def answer(self):
        """The next answer; an error within comes back as Refused, not raised."""
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return Refused(rest.decode(errors="replace"))
        if kind == b"$":
            if int(rest) < 0:
                return None
            body = self.file.read(int(rest) + 2)
            if len(body) != int(rest) + 2:
                raise ConnectionError("closed")
            return body[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self.answer() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def call(self, *words):
        self.send(words)
        got = self.answer()
        if isinstance(got, Refused):
            raise got
        return got


def discover(port, name):
    """Where the source is, or None."""
    c = Connection(("127.0.0.1", port), 2.0)
    try:
        found = c.call("SENTINEL", "get-master-addr-by-name", name)
    finally:
        c.close()
    return (found[0].decode(), int(found[1])) if found else None


# Ways to write pairs (key, value) over a connection. Each yields the place of a pair in `pairs` as
# soon as that is acknowledged, and raises Refused when one was not.

def by_set(c, pairs):
    for i, (key, value) in enumerate(pairs):
        c.call("SET", key, value)
        yield i


def by_eval(c, pairs):
    for i, (key, value) in enumerate(pairs):
        c.call("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, key, value)
        yield i


def by_multi(c, pairs):
    """One transaction, a command at a time: what is queued may have to wait for its EXEC there
    while the source changes."""
    c.call("MULTI")
    for pair in pairs:
        c.call("SET", *pair)
    for answer in c.call("EXEC"):
        if isinstance(answer, Refused):
            raise answer
    yield from range(len(pairs))


def by_publish(c, pairs):
    """Moves the stream without writing a key; one key beside it, so that something can be lost."""
    for i, (key, value) in enumerate(pairs):
        c.call("PUBLISH", "news", value)
        c.call("SET", key, value)
        yield i


def by_pipeline(c, pairs):
    """All at once. What is acknowledged beside an error counts as well."""
    c.send(*(["SET", *pair] for pair in pairs))
    refused = None
    for i in range(len(pairs)):
        got = c.answer()
        if isinstance(got, Refused):
            refused = refused or got
        else:
            yield i
    if refused:
        raise refused


def by_wait(copies):
    """Acknowledged only when `copies` replicas have it."""
    def write(c, pairs):
        for i, (key, value) in enumerate(pairs):
            c.call("SET", key, value)
            if c.call("WAIT", copies, 2000) < copies:
                raise Refused("too few replicas have it")
            yield i
    return write


class Writer(threading.Thread):
    """`rate` writes a second, `batch` of them at a time. Results are read when it has ended."""

    def __init__(self, name, where, write=by_set, rate=250, batch=1, size=8):
        super().__init__(daemon=True, name=name)
        self.where, self.write, self.rate, self.batch, self.size = where, write, rate, batch, size
        self.acknowledged = {}  # key: value, the newest that was acknowledged
        self.times = []         # of each acknowledgement, on the monotonic clock
        self.tried = {}         # key: the newest value that was sent
        self.unknown = 0        # answers that were lost
        self.refusals = {}      # first word of an error: how often
        self.sources = []       # addresses that took a write, in order
        self.broken = None
        self.over = threading.Event()

    def pairs(self, n):
        """Distinct numbered keys; every tenth write goes to one key again and again, whose value
        must never go back."""
        for i in range(n, n + self.batch):
            key = f"{self.name}:newest" if i % 10 == 9 else f"{self.name}:{i}"
            yield key, f"{i}:".ljust(self.size, "v")

    def take(self, connection, address, pairs):
        self.tried.update(pairs)
        for i in self.write(connection, pairs):
            self.acknowledged[pairs[i][0]] = pairs[i][1]
            self.times.append(time.monotonic())
        if not self.sources or self.sources[-1] != address:
            self.sources.append(address)

    def run(self):
        try:
            self.write_until_over()
        except Exception as e:  # a defect of the writer is none of the servers
            self.broken = e

    def write_until_over(self):
        connection, address, n = None, None, 0
        due = time.monotonic()
        while not self.over.is_set():
            try:
                if connection is None:
                    address = self.where()
                    connection = Connection(address) if address else None
                if connection is None:
                    self.over.wait(0.01)
                    continue
                pairs, n = list(self.pairs(n)), n + self.batch
                self.take(connection, address, pairs)
            except Refused as e:
                word = str(e).split(" ", 1)[0]
                self.refusals[word] = self.refusals.get(word, 0) + 1
                connection = self.drop(connection)
            except OSError:
                self.unknown += connection is not None
                connection = self.drop(connection)
            due = max(due + self.batch / self.rate, time.monotonic() - 1)
            self.over.wait(max(0.0, due - time.monotonic()))
        self.drop(connection)

    def drop(self, connection):
        """Looks for the source again, but not in a hurry."""
        if connection is not None:
            connection.close()
        self.over.wait(0.005)
        return None

    def last(self):
        return self.times[-1] if self.times else 0.0


class Writers:
    """Several at once: with Writers(dev, "sessions") as w: ..., then w.verify(members)."""

    def __init__(self, dev, group, count=4, names="w", **how):
        self.dev = dev
        port = dev.discovery_port
        self.threads = [Writer(f"{names}{i}", lambda: discover(port, group), **how)
                        for i in range(count)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for t in self.threads:
            t.over.set()
        for t in self.threads:
            t.join(30)
            assert not t.is_alive(), "a writer does not end"
            if t.broken:
                raise t.broken

    def goes_on(self, limit=30):
        """Every writer gets a write acknowledged that began after this call."""
        begin = time.monotonic()
        wait_until("every writer is acknowledged again",
                   lambda: all(t.broken or t.last() > begin for t in self.threads), limit, 0.002)

    def acknowledged(self):
        return sum(len(t.times) for t in self.threads)

    def refusals(self):
        total = {}
        for t in self.threads:
            for word, n in t.refusals.items():
                total[word] = total.get(word, 0) + n
        return total

    def gaps(self, least=0.0):
        """Pauses between two acknowledgements of one writer, longest first."""
        found = [b - a for t in self.threads for a, b in zip(t.times, t.times[1:])]
        return sorted((g for g in found if g >= least), reverse=True)

    def promised(self):
        return {k: v for t in self.threads for k, v in t.acknowledged.items()}

    def missing(self, instance):
        """Keys of this server that are not what was promised: (key, promised, found)."""
        tried = {k: v for t in self.threads for k, v in t.tried.items()}
        bad, promised = [], list(self.promised().items())
        client = self.dev.redis(instance)
        for i in range(0, len(promised), 1000):
            part = promised[i:i + 1000]
            for (key, value), found in zip(part, client.mget([k for k, _ in part])):
                if found != value and not is_between(value, found, tried[key]):
                    bad.append((key, value, found))
        return bad

    def verify(self, source, replicas=()):
        """Everything acknowledged is on the source now, and on each replica soon."""
        bad = self.missing(source)
        assert not bad, f"{len(bad)} of {len(self.promised())} lost: {bad[:5]}\n{self.dev.words()}"
        for r in replicas:
            wait_until(f"{r['name']} has every acknowledged write",
                       lambda r=r: not self.missing(r), 20, every=0.1)


def is_between(promised, found, tried):
    """A key written again and again may hold what was sent after the last acknowledgement, though
    the answer was lost; never anything older."""
    return found is not None and number(promised) < number(found) <= number(tried)


def number(value):
    """Which write of its writer it was; -1 for what no writer wrote."""
    first = value.split(":", 1)[0]
    return int(first) if first.isdigit() else -1
