"""The discovery endpoint as Redis clients meet it: beside a real redis-sentinel that watches the
same servers, through redis-py's own Sentinel support, and under bad input and many clients.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import redis
from redis.sentinel import MasterNotFoundError, Sentinel

from harness import TANIST, Dev, attempt, free_port, wait_until


class Endpoint:
    """A `tanist dev` with an endpoint of its own."""

    def __init__(self, settings=()):
        self.port = free_port()
        self.dev = Dev(settings=settings, start=False)
        self.dev.start("--sentinel", f"127.0.0.1:{self.port}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.dev.close()

    def client(self, **options):
        options.setdefault("socket_timeout", 10)
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **options)

    def sentinel(self, **options):
        return Sentinel([("127.0.0.1", self.port)], socket_timeout=5, **options)

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture(scope="module")
def endpoint():
    with Endpoint() as e:
        e.source = e.dev.create("sessions")
        e.replicas = e.dev.replicas("sessions", 2)
        yield e


@pytest.fixture(scope="module")
def real(endpoint):
    """A redis-sentinel that watches the same source."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tanist-test-") as folder:
        conf = os.path.join(folder, "sentinel.conf")
        with open(conf, "w") as f:
            f.write(f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n"
                    f"sentinel monitor sessions {endpoint.source['ip'][0]} 6379 1\n")
        server = subprocess.Popen([shutil.which("redis-server"), conf, "--sentinel"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        client = redis.Redis(host="127.0.0.1", port=port, decode_responses=True, socket_timeout=10)
        try:
            def sees_all():
                rows = client.sentinel_slaves("sessions")
                return len(rows) == 2 and all(r["master-link-status"] == "ok" for r in rows)
            wait_until("sentinel has asked source and replicas", lambda: attempt(sees_all), 30)
            yield client
        finally:
            server.kill()
            server.wait()


def command(*words):
    words = [w if isinstance(w, bytes) else w.encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def answers(port, *requests):
    """All bytes that come back to these requests and a PING behind them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(b"".join(requests) + command("PING", "the-end"))
        got = b""
        while not got.endswith(b"$7\r\nthe-end\r\n"):
            more = s.recv(65536)
            if not more:
                return got + b"<closed>"
            got += more
        return got[:-len(b"$7\r\nthe-end\r\n")]


# Word for word.

SAME = [
    ("PING",), ("PING", "x"), ("PING", "x", "y"), ("AUTH", "x"), ("AUTH", "u", "x"), ("AUTH",),
    ("AUTH", "default", "x"), ("HELLO", "4"), ("HELLO", "x"), ("HELLO", "2", "BAD"), ("CLIENT",),
    ("CLIENT", "FOO"), ("CLIENT", "GETNAME"), ("CLIENT", "SETNAME", "x y"), ("CLIENT", "SETNAME", "x"),
    ("GET", "a"), ("FOO", "bar", "baz"), ("SENTINEL",), ("SENTINEL", "FOO"), ("ROLE",),
    ("INFO", "replication"), ("SENTINEL", "get-master-addr-by-name", "sessions"),
    ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "nope"), ("SENTINEL", "get-master-addr-by-name"),
    ("SENTINEL", "MASTERS", "x"), ("SENTINEL", "MASTER", "nope"), ("SENTINEL", "REPLICAS", "nope"),
    ("SENTINEL", "SENTINELS", "sessions"), ("SENTINEL", "SENTINELS", "nope"),
    ("SENTINEL", "CKQUORUM", "sessions"), ("SENTINEL", "CKQUORUM", "nope"),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "127.0.0.1", "1", "0", "*"),
    ("SENTINEL", "IS-MASTER-DOWN-BY-ADDR", "a"), ("SUBSCRIBE",), ("UNSUBSCRIBE",), ("PUNSUBSCRIBE",),
    ("UNSUBSCRIBE", "z"), ("MULTI",), ("SELECT", "0"), ("TIME",), ("",),
]


@pytest.mark.parametrize("version", ["2", "3"])
def test_answers_are_a_real_sentinels_word_for_word(endpoint, real, version):
    theirs_port = real.connection_pool.connection_kwargs["port"]
    hello = command("HELLO", version)

    def answer(port, *words):
        got = answers(port, hello, command(*words))
        return got[got.index(b"modules\r\n*0\r\n"):]
    for words in SAME:
        assert answer(endpoint.port, *words) == answer(theirs_port, *words), words


def test_subscribers_hear_what_sentinels_subscribers_hear(endpoint, real):
    theirs_port = real.connection_pool.connection_kwargs["port"]
    talk = [command("SUBSCRIBE", "a", "+switch-master"), command("PSUBSCRIBE", "+*", "b?"),
            command("GET", "x"), command("PING"), command("SENTINEL", "MASTERS"),
            command("CLIENT", "ID"), command("SUBSCRIBE", "a"), command("UNSUBSCRIBE", "a", "none"),
            command("UNSUBSCRIBE"), command("PUNSUBSCRIBE")]
    assert answers(endpoint.port, *talk) == answers(theirs_port, *talk)


def fields(port, version, *words):
    """Names in order and kinds of the values, of each row."""
    client = redis.Redis(host="127.0.0.1", port=port, socket_timeout=10)
    connection = client.connection_pool.get_connection("_")
    connection.send_command(*words)
    rows = connection.read_response()
    rows = rows if isinstance(rows[0], list) else [rows]

    def kind(value):
        return "number" if value.lstrip(b"-").isdigit() else "text"
    return [[(row[i].decode(), kind(row[i + 1])) for i in range(0, len(row), 2)] for row in rows]


@pytest.mark.parametrize("words", [("SENTINEL", "MASTER", "sessions"), ("SENTINEL", "MASTERS"),
                                   ("SENTINEL", "REPLICAS", "sessions"),
                                   ("SENTINEL", "SLAVES", "sessions")], ids=" ".join)
def test_rows_have_a_real_sentinels_fields_in_its_order(endpoint, real, words):
    ours = fields(endpoint.port, 2, *words)
    theirs = fields(real.connection_pool.connection_kwargs["port"], 2, *words)
    assert ours and all(row == theirs[0] for row in ours)
    assert len(ours[0]) in (20, 21)


def test_rows_say_what_a_real_sentinels_say(endpoint, real):
    ours, theirs = endpoint.client(), real
    same = ["name", "ip", "port", "runid", "flags", "num-slaves", "num-other-sentinels", "quorum",
            "role-reported", "link-refcount"]
    a, b = ours.sentinel_master("sessions"), theirs.sentinel_master("sessions")
    assert {k: a[k] for k in same} == {k: b[k] for k in same}
    same = ["name", "ip", "port", "runid", "flags", "role-reported", "master-link-status",
            "master-host", "master-port", "slave-priority", "replica-announced"]

    def rows(client):
        return sorted(tuple((k, row[k]) for k in same) for row in client.sentinel_slaves("sessions"))
    assert rows(ours) == rows(theirs)


def test_redis_cli_gets_a_table(endpoint):
    done = subprocess.run(["redis-cli", "-p", str(endpoint.port), "sentinel",
                           "get-master-addr-by-name", "sessions"],
                          capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == [endpoint.source["ip"][0], "6379"]
    done = subprocess.run(["redis-cli", "-3", "-p", str(endpoint.port), "sentinel", "masters"],
                          capture_output=True, text=True, timeout=20, check=True)
    assert "num-slaves" in done.stdout


# redis-py.

def test_redis_py_finds_source_and_replicas_under_every_name(endpoint):
    source, replicas = endpoint.source["ip"][0], {r["ip"][0] for r in endpoint.replicas}
    for name in ("sessions", "dev/sessions", endpoint.source["id"], endpoint.replicas[0]["id"]):
        assert endpoint.sentinel().discover_master(name) == (source, 6379)
        assert {a for a, _ in endpoint.sentinel().discover_slaves(name)} == replicas
    with pytest.raises(MasterNotFoundError):
        endpoint.sentinel().discover_master("nope")


def test_redis_py_writes_through_a_restart(endpoint):
    master = endpoint.sentinel().master_for("sessions", socket_timeout=5)
    replica = endpoint.sentinel().slave_for("sessions", socket_timeout=5)
    master.set("before", "1")
    assert master.info("replication")["role"] == "master"
    wait_until("a replica has it", lambda: attempt(lambda: replica.get("before")) == b"1")
    assert replica.info("replication")["role"] == "slave"

    old = endpoint.dev.kill_server(endpoint.source)
    wait_until("writes again", lambda: attempt(lambda: master.set("after", "2")), 30)
    assert master.get("before") == b"1"
    assert endpoint.dev.pid(endpoint.source) != old

    # The control plane restarts: the endpoint is back where it was.
    endpoint.dev.kill_program("tanistd")
    wait_until("it is found again",
               lambda: attempt(lambda: endpoint.sentinel().discover_master("sessions")), 30)
    assert master.get("after") == b"2"


def test_a_source_that_is_down_is_marked_and_still_named(endpoint):
    pid = endpoint.dev.pid(endpoint.source)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until("it is marked",
                   lambda: endpoint.client().sentinel_master("sessions")["is_odown"], 30)
        assert (endpoint.client().sentinel_get_master_addr_by_name("sessions")
                == (endpoint.source["ip"][0], 6379))
        with pytest.raises(MasterNotFoundError):
            endpoint.sentinel().discover_master("sessions")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    wait_until("it is not any more",
               lambda: attempt(lambda: endpoint.sentinel().discover_master("sessions")), 30)


# node-redis.

NODE = """
const { createClient } = require("redis");
(async () => {
	const asks = createClient({ url: process.argv[1] });
	await asks.connect();
	const [host, port] = await asks.sendCommand(
		["SENTINEL", "get-master-addr-by-name", "sessions"]);
	const listens = asks.duplicate();
	await listens.connect();
	await listens.subscribe("+switch-master", () => {});
	const source = createClient({ url: `redis://${host}:${port}` });
	await source.connect();
	console.log(await source.set("node", "1"), await source.get("node"));
	for (const c of [listens, asks, source]) {
		await c.disconnect();
	}
})().catch((e) => { console.error(e); process.exit(1); });
"""


@pytest.mark.skipif(not shutil.which("node") or not os.path.exists("/usr/share/nodejs/redis"),
                    reason="nodejs and node-redis are not installed")
def test_node_redis_asks_and_listens(endpoint):
    """Version 4, which Debian has, knows no Sentinels: it asks as a program without a library would."""
    done = subprocess.run(["node", "-e", NODE, f"redis://127.0.0.1:{endpoint.port}"],
                          env=dict(os.environ, NODE_PATH="/usr/share/nodejs"),
                          capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "OK 1\n"), done.stderr


# Login.

def test_a_token_is_the_password(tmp_path):
    """tanistd alone: tanist dev has no login."""
    port, config = free_port(), tmp_path / "tanist.conf"
    config.write_text("[auth]\nmode = token\n[token:t0ps3cret]\nproject = red\nroles = member\n")
    tanistd = os.path.join(os.path.dirname(TANIST), "tanistd")
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen([tanistd, "--dir", str(tmp_path / "state"), "--config", str(config),
                                   "--listen", "127.0.0.1:0", "--set",
                                   f"discovery.listen=127.0.0.1:{port}"],
                                  stdin=subprocess.DEVNULL, stderr=log)
    try:
        def client(**options):
            return redis.Redis(host="127.0.0.1", port=port, socket_timeout=10, **options)
        wait_until("it answers", lambda: attempt(
            lambda: client(password="t0ps3cret").execute_command("SENTINEL", "MYID")))
        for login in ({"password": "t0ps3cret"}, {"username": "red", "password": "t0ps3cret"},
                      {"username": "default", "password": "t0ps3cret"}):
            assert not client(**login).execute_command("SENTINEL", "MASTERS")
        with pytest.raises(redis.AuthenticationError):
            client().ping()
        for login in ({"password": "wrong"}, {"username": "blue", "password": "t0ps3cret"}):
            with pytest.raises(redis.RedisError):
                client(**login).ping()
        assert b"t0ps3cret" not in (tmp_path / "log").read_bytes()
    finally:
        server.terminate()
        assert server.wait(20) == 0


# Bad input and limits.

BAD = [b"*x\r\n", b"*1\r\n+PING\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$x\r\n", b"*129\r\n", b"*99999999\r\n",
       b"*2147483647\r\n", b"*2\r\n*1\r\n$1\r\na\r\n", b"*1\r\n:1\r\n", b"PING \"x\r\n",
       b"*1\r\n$4\r\nPINGxx\r\n", b"a" * 70000, b"*" + b"1" * 70000,
       b"*1\r\n$999999999\r\n" + b"x" * 70000 + b"\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
       b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]


@pytest.mark.parametrize("bytes_", BAD, ids=lambda b: repr(b[:24]))
def test_bad_input_ends_that_connection_only(endpoint, bytes_):
    bystander = endpoint.client()
    assert bystander.ping()
    with endpoint.raw() as s:
        s.sendall(bytes_)
        with contextlib.suppress(ConnectionResetError):
            while s.recv(65536):
                pass
    assert bystander.ping()


def test_requests_may_come_in_pieces_and_in_heaps(endpoint):
    request = command("SENTINEL", "get-master-addr-by-name", "sessions")
    with endpoint.raw() as s:
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        assert endpoint.source["ip"][0].encode() in s.recv(4096)
        s.sendall(request * 2000 + command("PING", "last"))
        got = b""
        while not got.endswith(b"$4\r\nlast\r\n"):
            got += s.recv(1 << 20)
        assert got.count(endpoint.source["ip"][0].encode()) == 2000


def test_who_asks_without_reading_holds_up_itself(endpoint):
    """It cannot make the control plane keep more than an answer or so."""
    def resident():
        with open(f"/proc/{endpoint.dev.program_pid('tanistd')}/status") as f:
            return int([line for line in f if line.startswith("VmRSS")][0].split()[1])
    request = command("SENTINEL", "MASTERS") * 1000
    before = resident()
    with endpoint.raw() as s:
        s.setblocking(False)
        sent, end = 0, time.monotonic() + 20
        while sent < 64 << 20 and time.monotonic() < end:
            try:
                sent += s.send(request)
            except BlockingIOError:
                if endpoint.client().ping() and sent > 1 << 20:
                    break
        assert endpoint.client().ping()
        assert sent < 32 << 20 and resident() - before < 64 << 10


def test_many_subscribers(endpoint):
    """1000 wait, the endpoint answers others meanwhile, and none is lost."""
    before = int(endpoint.client().info("clients")["connected_clients"])
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(endpoint.raw()) for _ in range(1000)]
        for s in waiting:
            s.sendall(command("SUBSCRIBE", "+switch-master"))
        for s in waiting:
            assert s.recv(4096).endswith(b":1\r\n")
        assert int(endpoint.client().info("clients")["connected_clients"]) >= before + 1000
        for s in waiting[::50]:
            s.sendall(command("PING"))
            assert b"pong" in s.recv(4096)
    wait_until("they are gone", lambda: int(
        endpoint.client().info("clients")["connected_clients"]) <= before + 2)


def test_one_too_many_is_told():
    with Endpoint(settings=["discovery.max_clients=2"]) as e:
        first, second = e.raw(), e.raw()
        with e.raw() as third:
            assert third.recv(100) == b"-ERR max number of clients reached\r\n"
            assert third.recv(100) == b""
        first.close()
        wait_until("there is room again",
                   lambda: answers_pong(e.port))
        second.close()


def answers_pong(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        with contextlib.suppress(OSError):
            s.sendall(b"PING\r\n")
            return s.recv(100) == b"+PONG\r\n"


def test_silence_ends_a_client_but_no_subscriber():
    with Endpoint(settings=["discovery.idle_limit=1"]) as e:
        with e.raw() as silent, e.raw() as waiting:
            waiting.sendall(command("SUBSCRIBE", "+switch-master"))
            assert b"subscribe" in waiting.recv(4096)
            silent.sendall(b"PING\r\n")
            assert silent.recv(100) == b"+PONG\r\n"
            assert silent.recv(100) == b""
            waiting.sendall(command("PING"))
            assert b"pong" in waiting.recv(4096)


# tanist dev.

def test_dev_goes_on_without_an_endpoint_only_if_nobody_asked_for_one():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        taken = f"127.0.0.1:{holder.getsockname()[1]}"
        dev = Dev(start=False)
        try:
            with pytest.raises(AssertionError, match="ended before it was ready"):
                dev.start("--sentinel", taken)
            assert f"{taken} is in use" in dev.words()
        finally:
            dev.close()
    with socket.socket() as holder:
        with contextlib.suppress(OSError):  # then somebody else has it: as good
            holder.bind(("127.0.0.1", 26379))
            holder.listen(1)
        dev = Dev(start=False)
        dev.discovery = None
        try:
            dev.start()
            with open(dev.dir + ".dev.log") as f:
                assert "another program listens on 127.0.0.1:26379: going on without" in f.read()
        finally:
            dev.close()
