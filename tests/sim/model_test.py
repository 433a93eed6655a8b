"""The simulation's server model against real servers: the same scripts on both (script.c).

Every line that both print must be the same: roles, links, which replication ids are equal, the
order of offsets, how many full and partial resyncs were served, every key.
"""
import os
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

HERE = Path(__file__).parent
BUILD = Path(os.environ.get("TANIST_BUILD", HERE.parent.parent / "build-check"))
SCRIPTS = sorted((HERE / "scripts").glob("*.txt"))
KEYS = 16
LIMIT_S = 20
ANSWERED_WITHIN_S = 0.15


def pytest_generate_tests(metafunc):
    if "script" in metafunc.fixturenames:
        metafunc.parametrize("script", SCRIPTS, ids=lambda p: p.stem)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def parse_info(answer, **_):
    info = {}
    for line in answer.decode().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            info[name] = value if "replid" in name or not re.fullmatch(r"-?\d+", value) else int(value)
    return info


class Server:
    """One redis-server, and the files it leaves when it is killed."""

    def __init__(self, folder):
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        self.process = None
        self.client = None

    def start(self, upstream=None, appendonly=True):
        if not appendonly:
            subprocess.run(["rm", "-rf", self.folder / "appendonlydir"], check=True)
        arguments = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "save": "",
            "appendonly": "yes" if appendonly else "no", "daemonize": "no",
            "repl-ping-replica-period": 3600, "repl-diskless-sync": "no",
            "repl-diskless-sync-delay": 0, "loglevel": "warning", "logfile": self.folder / "log",
            "repl-backlog-ttl": 0, "repl-timeout": 3600, "min-replicas-max-lag": 10,
        }
        line = ["redis-server"]
        for name, value in arguments.items():
            line += [f"--{name}", str(value)]
        if upstream is not None:
            line += ["--replicaof", "127.0.0.1", str(upstream)]
        self.process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
        self.client = redis.Redis(port=self.port, socket_timeout=5)
        # The library would read an id of digits as a number.
        self.client.set_response_callback("INFO", parse_info)
        self.until(lambda: self.client.info()["loading"] == 0)

    def until(self, probe):
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            try:
                if probe():
                    return
            except redis.RedisError:
                pass
            time.sleep(0.01)
        raise TimeoutError(f"server on port {self.port}")

    def alive(self):
        return self.process is not None

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.process = None
        self.client = None


class Real:
    """Plays a script on real servers, and prints what the model prints."""

    def __init__(self, folder):
        self.folder = folder
        self.servers = {}
        self.stopped = set()
        self.paused_until = {}
        self.ids = []
        self.writes = 0
        self.lines = []

    def done(self):
        for server in self.servers.values():
            server.kill()

    def play(self, path):
        for line in path.read_text().splitlines():
            words = line.split("#")[0].split()
            if words:
                getattr(self, "do_" + words[0].replace("-", "_"))(*words[1:])
        return self.lines

    # servers

    def upstream(self, words):
        if not words:
            return None
        return 0 if words[0] == "closed" else self.servers[words[1]].port

    def do_start(self, x, *how):
        self.servers[x] = Server(self.folder / x)
        self.servers[x].start(self.upstream(how))

    def do_restart(self, x, kind, *how):
        self.servers[x].start(self.upstream(how), appendonly=kind == "aof")

    def do_kill(self, x):
        self.servers[x].kill()
        self.stopped.discard(x)

    def do_stop(self, x):
        self.servers[x].process.send_signal(signal.SIGSTOP)
        self.stopped.add(x)

    def do_cont(self, x):
        self.servers[x].process.send_signal(signal.SIGCONT)
        self.stopped.discard(x)

    def do_slaveof(self, x, whom):
        address = {"nobody": ("NO", "ONE"), "closed": ("127.0.0.1", "0")}.get(whom)
        address = address or ("127.0.0.1", str(self.servers[whom].port))
        self.servers[x].client.execute_command("SLAVEOF", *address)

    def do_save(self, x):
        self.servers[x].client.save()

    def do_aof_on(self, x):
        self.servers[x].client.config_set("appendonly", "yes")

    def do_pause(self, x, ms):
        client = self.servers[x].client
        self.paused_until[x] = time.monotonic() + int(ms) / 1000
        if ms == "0":
            client.execute_command("CLIENT", "UNPAUSE")
        else:
            client.execute_command("CLIENT", "PAUSE", ms, "WRITE")

    def do_min_slaves(self, x, n, lag):
        client = self.servers[x].client
        client.config_set("min-slaves-max-lag", lag)
        client.config_set("min-slaves-to-write", n)

    def write(self, x):
        with socket.create_connection(("127.0.0.1", self.servers[x].port)) as s:
            n = self.writes + 1
            s.settimeout(ANSWERED_WITHIN_S)
            s.sendall(f"SET k{n % KEYS} {n}\r\n".encode())
            try:
                answer = s.recv(100).decode().lstrip("+-").split()[0]
            except (TimeoutError, ConnectionError):
                return "no answer"
            self.writes += answer == "OK"
            return answer

    def do_write(self, x, count):
        answer = "OK"
        for _ in range(int(count)):
            answer = self.write(x) if answer == "OK" else answer
        self.lines.append(f"write {x}: {answer}")

    # waiting

    def do_sleep(self, ms):
        time.sleep(int(ms) / 1000)

    def answering(self):
        return {x: s for x, s in sorted(self.servers.items()) if s.alive() and x not in self.stopped}

    def resting(self):
        """Nobody copies or loads, and whoever can follow somebody has all that one has."""
        infos = {x: s.client.info() for x, s in self.answering().items()}
        at = {s.port: x for x, s in self.servers.items()}
        for x, info in infos.items():
            if info["loading"] or info["aof_rewrite_in_progress"] or info.get("master_sync_in_progress"):
                return False
            source = infos.get(at.get(info.get("master_port")))
            if info["role"] == "master" or source is None:
                continue
            dead_end = source["role"] == "slave" and source["master_link_status"] != "up"
            if info["master_link_status"] != "up":
                if not dead_end:
                    return False
            elif (info["master_repl_offset"] < source["master_repl_offset"]
                  and time.monotonic() > self.paused_until.get(x, 0)):
                return False
        return True

    def do_rest(self):
        end = time.monotonic() + LIMIT_S
        calm = 0
        while calm < 4:
            calm = calm + 1 if self.resting() else 0
            if time.monotonic() > end:
                raise TimeoutError("the servers do not come to rest")
            time.sleep(0.05)

    # showing

    def letter(self, replid):
        if not replid.strip("0"):
            return "-"
        if replid not in self.ids:
            self.ids.append(replid)
        return chr(ord("A") + self.ids.index(replid))

    def role(self, info):
        if info["role"] == "master":
            return "master"
        if info["master_port"] == 0:
            return "replica of nobody, down"
        whom = next(x for x, s in self.servers.items() if s.port == info["master_port"])
        return f"replica of {whom}, {info['master_link_status']}"

    def do_show(self):
        infos = {x: s.client.info() for x, s in self.answering().items()}
        offsets = sorted({i["master_repl_offset"] for i in infos.values()})
        for x, info in infos.items():
            offset = info["master_repl_offset"]
            line = f"{x}: {self.role(info)}; id {self.letter(info['master_replid'])}"
            line += f", before it {self.letter(info['master_replid2'])}"
            if info["second_repl_offset"] >= 0:
                here = info["second_repl_offset"] - 1 == offset
                line += " up to " + ("here" if here else "earlier")
            line += f"; offset {offsets.index(offset)}"
            line += f"; full {info['sync_full']}, partial {info['sync_partial_ok']}; data"
            values = self.servers[x].client.mget([f"k{i}" for i in range(KEYS)])
            self.lines.append(line + "".join(f" {int(v or 0)}" for v in values))


def model_lines(path):
    run = subprocess.run([BUILD / "tests" / "sim" / "sim", "--script", path], text=True,
                         capture_output=True, timeout=30, check=True)
    return run.stdout.splitlines()


def play(path, folder):
    real = Real(folder)
    try:
        return real.play(path)
    finally:
        real.done()


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """All scripts at once: most of the time the servers wait for their own clocks."""
    folder = tmp_path_factory.mktemp("model")
    with ThreadPoolExecutor(max_workers=6) as pool:
        lines = {}
        for path in SCRIPTS:
            (folder / path.stem).mkdir()
            lines[path] = pool.submit(play, path, folder / path.stem)
        yield lines


def test_the_model_does_what_redis_does(script, played):
    lines = played[script].result()
    assert lines, "the script shows nothing"
    assert model_lines(script) == lines
