"""tanist dev with stand-ins for tanistd and tanist-agent: how it starts, restarts and stops them.

The real programs are tested with it elsewhere. A stand-in says "ready", answers a list of
datastores, and writes down every signal it gets. TANIST_BUILD names the build folder.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from cli_test import program

STAND_IN = '''#!/usr/bin/python3
import http.server, json, os, signal, sys, time
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
name = os.path.basename(sys.argv[0])
home = os.path.dirname(os.path.abspath(sys.argv[0]))
plan = lambda what: os.path.exists(f"{home}/{name}.{what}")
note = lambda text: open(f"{home}/{name}.notes", "a").write(text + "\\n")
note("start " + " ".join(sys.argv[1:]))
print("a line of", name, flush=True)
if plan("fails"):
    print("no \\x1b[31mluck", flush=True)
    sys.exit(3)
def stop(number, _):
    note(f"signal {signal.Signals(number).name}")
    if not plan("stubborn"):
        os._exit(0)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, stop)
note(f"pgid {os.getpgid(0) == os.getpid()} fds {sorted(map(int, os.listdir('/proc/self/fd')))}")
class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        name = self.path.split("/")[-1]
        rows = [] if plan("empty") else [{"name": "tiny"}]
        body = json.dumps({name: rows}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
url = ""
if name == "tanistd":
    address, port = args.get("--listen", "127.0.0.1:0").split(":")
    server = http.server.ThreadingHTTPServer((address, int(port)), Api)
    url = f" http://{address}:{server.server_port}"
if not plan("silent"):
    os.write(int(args["--ready-fd"]), f"ready{url}\\n".encode())
os.close(int(args["--ready-fd"]))
if name == "tanistd":
    server.serve_forever(0.01)
while True:
    time.sleep(60)
'''


class Dev:
    def __init__(self, folder):
        self.folder, self.state = folder, folder / "state"
        shutil.copy(program(), folder / "tanist")
        for name in ("tanistd", "tanist-agent"):
            (folder / name).write_text(STAND_IN)
            (folder / name).chmod(0o755)
        self.process = None

    def plan(self, what):
        (self.folder / what).touch()

    def start(self, *words):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TANIST_")}
        self.process = subprocess.Popen(
            [self.folder / "tanist", "dev", "--dir", self.state, "--listen", "127.0.0.1:0", *words],
            stdout=subprocess.PIPE, stderr=open(self.folder / "stderr", "w"), text=True, env=env)
        return self.process.stdout.readline()

    def notes(self, name, what):
        path = self.folder / f"{name}.notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(what)]

    def pid(self, name):
        """Of the program that runs now, by its note in /proc; never another's."""
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    words = open(f"/proc/{entry}/cmdline", "rb").read().split(b"\0")
                except OSError:
                    continue
                if str(self.folder / name).encode() in words[:2]:
                    return int(entry)
        return None

    def stderr(self):
        return (self.folder / "stderr").read_text()

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(20)


def until(condition, limit=10):
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


@pytest.fixture
def dev(tmp_path):
    d = Dev(tmp_path)
    yield d
    for pid in (d.process and d.process.poll() is None and d.process.pid, d.pid("tanist-agent"), d.pid("tanistd")):
        if pid:
            os.kill(pid, signal.SIGKILL)
    if d.process:
        d.process.wait()
        d.process.stdout.close()


def test_ready_line_and_orderly_end(dev):
    line = dev.start()
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+/v1\.0/dev\n", line)
    url = line.split()[1]
    assert (dev.state / "dev.url").read_text() == url
    assert dev.notes("tanist-agent", "pgid") == ["pgid True fds [0, 1, 2, 3, 4]"]  # 4 lists them
    assert f"--server {url.removesuffix('/v1.0/dev')} " in dev.notes("tanist-agent", "start")[0]
    assert (dev.state / "agent.log").stat().st_mode & 0o777 == 0o600
    assert dev.state.stat().st_mode & 0o777 == 0o700
    assert dev.end() == 0
    assert dev.notes("tanist-agent", "signal") == ["signal SIGUSR2"]
    assert dev.notes("tanistd", "signal") == ["signal SIGTERM"]
    assert not (dev.state / "dev.url").exists()
    rest = dev.process.stdout.read()
    assert f"export TANIST_URL={url}" in rest and "tanist create sessions tiny --size 1" in rest


def test_keep_servers_and_options_handed_on(dev, tmp_path):
    settings = tmp_path / "settings"
    settings.touch()
    dev.start("--keep-servers", "--addresses", "127.0.9.1-127.0.9.9", "--set", "log.level=debug",
              "--config", settings)
    for name in ("tanistd", "tanist-agent"):
        words = dev.notes(name, "start")[0]
        assert f"--config {settings} --set log.level=debug" in words
    assert "--set agent.addresses=127.0.9.1-127.0.9.9" in dev.notes("tanist-agent", "start")[0]
    assert dev.end(signal.SIGTERM) == 0
    assert dev.notes("tanist-agent", "signal") == ["signal SIGTERM"]


def test_a_program_that_dies_is_started_again_at_the_same_address(dev):
    port = dev.start().split(":")[2].split("/")[0]
    os.kill(dev.pid("tanistd"), signal.SIGKILL)
    until(lambda: len(dev.notes("tanistd", "start")) == 2)
    assert f"--listen 127.0.0.1:{port}" in dev.notes("tanistd", "start")[1]
    until(lambda: "tanistd was ended by signal 9" in dev.stderr())
    assert dev.end() == 0


@pytest.mark.parametrize("name", ["tanistd", "tanist-agent"])
def test_one_that_ends_at_once_three_times_is_given_up(dev, name):
    dev.plan(f"{name}.fails")
    assert dev.start() == ""
    assert dev.process.wait(20) == 1
    assert len(dev.notes(name, "start")) == 3
    assert f"{name} exited with status 3, 3 times in a row" in dev.stderr()
    assert "no ?[31mluck" in dev.stderr()  # its last words, made harmless
    assert dev.pid("tanistd") is None
    if name == "tanist-agent":
        assert dev.notes("tanistd", "signal") == ["signal SIGTERM"]


def test_it_says_when_nothing_can_be_run(dev):
    dev.plan("tanistd.empty")
    assert dev.start() == ""
    assert dev.process.wait(30) == 1
    assert "install redis-server" in dev.stderr()


def test_a_second_one_names_the_holder(dev):
    dev.start()
    second = subprocess.run([dev.folder / "tanist", "dev", "--dir", dev.state], capture_output=True,
                            text=True, timeout=20)
    assert second.returncode == 1
    assert f"in use by tanist dev, process {dev.process.pid}" in second.stderr


def test_killed_it_takes_both_along_and_a_new_one_can_start(dev):
    dev.start()
    dev.end(signal.SIGKILL)
    until(lambda: dev.pid("tanistd") is None and dev.pid("tanist-agent") is None)
    assert dev.notes("tanist-agent", "signal") == ["signal SIGTERM"]  # not SIGUSR2: servers run on
    dev.process.stdout.close()
    assert dev.start().startswith("ready ")


def test_the_second_interrupt_hurries(dev):
    dev.plan("tanist-agent.stubborn")
    dev.start()
    dev.process.send_signal(signal.SIGINT)
    until(lambda: dev.notes("tanist-agent", "signal") == ["signal SIGUSR2"])
    assert dev.process.poll() is None
    assert dev.end() == 0
    assert dev.pid("tanist-agent") is None and dev.pid("tanistd") is None


def test_an_interrupt_before_ready_ends_it(dev):
    dev.plan("tanistd.silent")
    env = dict(os.environ)
    dev.process = subprocess.Popen([dev.folder / "tanist", "dev", "--dir", dev.state, "--listen", "127.0.0.1:0"],
                                   stdout=subprocess.PIPE, stderr=open(dev.folder / "stderr", "w"),
                                   text=True, env=env)
    until(lambda: dev.notes("tanistd", "pgid"))
    assert dev.end() == 0
    assert dev.notes("tanistd", "signal") == ["signal SIGTERM"]
    assert dev.notes("tanist-agent", "start") == []
