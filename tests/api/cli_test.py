"""The command line against an API that misbehaves: exit statuses, messages, and what is sent.

The server here is a few lines of Python that answer what a case says. TANIST_BUILD names the build
folder. Run with /usr/bin/python3 -m pytest.
"""

import fcntl
import http.server
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

DONE, REFUSED, USAGE, UNREACHABLE, WAITED = range(5)

A = "11111111-1111-4111-8111-111111111111"
B = "22222222-2222-4222-8222-222222222222"
C = "33333333-3333-4333-8333-333333333333"


def program():
    return os.path.join(os.environ["TANIST_BUILD"], "tanist")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        path = self.path.removeprefix("/v1.0/dev")
        self.server.seen.append((self.command, path, body, dict(self.headers)))
        status, content = self.server.reply(self.command, path, body)
        if status is None:  # silence until the client gives up
            self.server.quiet.wait(60)
            self.close_connection = True
            return
        if not isinstance(content, bytes):
            content = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status in (301, 302, 307):
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()
        try:
            self.wfile.write(content)
        except OSError:
            pass

    do_GET = do_POST = do_PUT = do_DELETE = answer


class FakeApi(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.quiet = threading.Event()
        self.reply = lambda method, path, body: (404, fault("itemNotFound", 404, "no such thing"))
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1.0/dev"

    def sent(self, method):
        return [(path, body) for m, path, body, _ in self.seen if m == method]


@pytest.fixture
def api():
    server = FakeApi()
    yield server
    server.quiet.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def env(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TANIST_", "XDG_"))}
    return clean | {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}


def fault(key, code, message):
    return {key: {"code": code, "message": message}}


def run(env, *words, url=None, timeout=30):
    if url:
        env = env | {"TANIST_URL": url}
    return subprocess.run([program(), *words], env=env, capture_output=True, text=True,
                          timeout=timeout, stdin=subprocess.DEVNULL)


def instance(id_, name, status="ACTIVE", **more):
    return {"id": id_, "name": name, "status": status, "operating_status": "HEALTHY",
            "flavor": {"id": "1", "links": []}, "volume": {"size": 1}, "links": [],
            "datastore": {"type": "redis", "version": "7.0.15"}} | more


def fixed(routes):
    """A reply function from {"GET /path": content or (status, content)}; queries are ignored."""
    def reply(method, path, _body):
        found = routes.get(f"{method} {path.split('?')[0]}")
        if found is None:
            return 404, fault("itemNotFound", 404, "no such thing")
        return found if isinstance(found, tuple) else (200, found)
    return reply


# ---- no server, or no sense in what it says ----

def test_unreachable_names_url_and_remedy(env):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{s.getsockname()[1]}/v1.0/dev"
        r = run(env, "list", url=url)
    assert r.returncode == UNREACHABLE
    assert url in r.stderr and "tanist dev" in r.stderr and "--url" in r.stderr
    assert r.stdout == ""


def test_default_url_and_the_one_a_dev_recorded(env, tmp_path, api):
    api.reply = fixed({"GET /instances": {"instances": []}})
    folder = tmp_path / ".local/state/tanist"
    folder.mkdir(parents=True)
    (folder / "dev.url").write_text(api.url + "\n")
    assert run(env, "list").returncode == DONE
    assert api.sent("GET") == [("/instances?limit=1000", b"")]


def test_url_option_wins_and_a_bare_server_means_dev(env, api):
    api.reply = fixed({"GET /instances": {"instances": []}})
    bare = f"http://127.0.0.1:{api.server_port}/"
    r = run(env, "list", "--url", bare, url="http://127.0.0.1:1/v1.0/x")
    assert r.returncode == DONE, r.stderr


@pytest.mark.parametrize("url", ["ftp://x/", "127.0.0.1", "http://", "http://a:b@c/v1.0/x", "http://a/ b"])
def test_a_bad_url_is_a_usage_error(env, url):
    r = run(env, "list", "--url", url)
    assert r.returncode == USAGE and "tanist: " in r.stderr


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"instances": [', b'{"a": 1, "a": 2}', b"\xff"])
def test_garbage_is_refused(env, api, content):
    api.reply = lambda *_: (200, content)
    r = run(env, "list", url=api.url)
    assert r.returncode == REFUSED
    assert api.url in r.stderr


@pytest.mark.parametrize("content", [
    {}, [], {"instances": {}}, {"instances": [1, None, [], {}]},
    {"instances": [{"id": 1, "name": [], "ip": {}, "volume": 3, "flavor": "x", "fault": []}]}])
def test_answers_of_odd_shape_do_no_harm(env, api, content):
    api.reply = lambda *_: (200, content)
    for words in (["list"], ["topology"], ["show", A], ["events"], ["operations"], ["flavor-list"],
                  ["datastore-list"], ["delete", "x"], ["completion", "instances"]):
        r = run(env, *words, url=api.url)
        assert r.returncode in (DONE, REFUSED), (words, r.stderr)
        assert "Sanitizer" not in r.stderr


def test_a_redirect_is_not_followed(env, api):
    api.reply = lambda *_: (302, b"")
    r = run(env, "list", url=api.url)
    assert r.returncode == REFUSED and "302" in r.stderr
    assert len(api.seen) == 1


def test_slow_server_is_given_up(env, api):
    api.reply = lambda *_: (None, None)
    began = time.monotonic()
    r = run(env, "completion", "instances", url=api.url)  # the one with a short limit
    assert r.returncode == UNREACHABLE
    assert "gave no answer within 2 s" in r.stderr
    assert time.monotonic() - began < 10


def test_control_characters_never_reach_the_terminal(env, api):
    evil = "a\x1b[2Jb\u009b31m\u202ec\nd"
    api.reply = fixed({
        "GET /instances": {"instances": [instance(A, evil, hostname=evil)]},
        "GET /instances/detail": {"instances": [instance(A, evil, fault={"message": evil})]},
        f"GET /instances/{A}": {"instance": instance(A, evil, fault={"message": evil})},
        f"GET /instances/{B}": (400, fault("badRequest", 400, evil)),
    })
    for words in (["list"], ["topology"], ["show", A], ["show", B]):
        r = run(env, *words, url=api.url)
        for out in (r.stdout, r.stderr):
            assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out), (words, out)


# ---- refusals ----

@pytest.mark.parametrize("status,key,hint", [
    (400, "badRequest", ""),
    (401, "unauthorized", "TANIST_TOKEN"),
    (403, "forbidden", "topology"),
    (404, "itemNotFound", "tanist list"),
    (413, "overLimit", "quota"),
    (422, "unprocessableEntity", "tanist operations"),
    (500, "instanceFault", ""),
    (503, "serviceUnavailable", "try again"),
])
def test_a_refusal_shows_the_message_and_what_next(env, api, status, key, hint):
    api.reply = lambda *_: (status, fault(key, status, "the very reason"))
    r = run(env, "show", A, url=api.url)
    assert r.returncode == REFUSED
    assert f"the very reason (HTTP {status})" in r.stderr
    assert hint in r.stderr
    assert r.stdout == ""


def test_a_refusal_without_a_fault_body(env, api):
    api.reply = lambda *_: (404, b"<html>not here</html>")
    r = run(env, "show", A, url=api.url)
    assert r.returncode == REFUSED
    assert "HTTP 404" in r.stderr and "/v1.0/PROJECT" in r.stderr


def test_a_full_disk_behind_stdout_is_a_failure(env, api):
    api.reply = fixed({"GET /instances": {"instances": [instance(A, "a")]}})
    with open("/dev/full", "w") as full:
        r = subprocess.run([program(), "list"], env=env | {"TANIST_URL": api.url}, stdout=full,
                           stderr=subprocess.PIPE, text=True, timeout=30)
    assert r.returncode == REFUSED and "No space left" in r.stderr


# ---- names ----

def test_names_are_looked_up_over_all_pages(env, api):
    def reply(method, path, _body):
        if path == "/instances?limit=1000":
            link = f"http://x/v1.0/dev/instances?limit=1000&marker={A}"
            return 200, {"instances": [instance(A, "a")], "links": [{"rel": "next", "href": link}]}
        if path == f"/instances?limit=1000&marker={A}":
            return 200, {"instances": [instance(B, "b")]}
        return 200, {"instance": instance(B, "b")}
    api.reply = reply
    r = run(env, "show", "b", url=api.url)
    assert r.returncode == DONE and B in r.stdout
    r = run(env, "list", "--json", url=api.url)
    assert [i["id"] for i in json.loads(r.stdout)["instances"]] == [A, B]


def test_a_server_that_repeats_a_page_is_left(env, api):
    link = f"http://x/v1.0/dev/instances?marker={A}"
    api.reply = lambda *_: (200, {"instances": [], "links": [{"rel": "next", "href": link}]})
    r = run(env, "list", url=api.url)
    assert r.returncode == REFUSED and "again and again" in r.stderr


def test_an_ambiguous_name_lists_the_ids(env, api):
    api.reply = fixed({"GET /instances": {"instances": [instance(A, "x"), instance(B, "x"),
                                                        instance(C, "y")]}})
    r = run(env, "delete", "x", url=api.url)
    assert r.returncode == REFUSED
    assert A in r.stderr and B in r.stderr and C not in r.stderr
    assert api.sent("DELETE") == []


def test_an_unknown_name(env, api):
    api.reply = fixed({"GET /instances": {"instances": []}})
    r = run(env, "show", "nope", url=api.url)
    assert r.returncode == REFUSED
    assert "there is no instance 'nope'" in r.stderr and "tanist list" in r.stderr


# ---- what is sent ----

def test_json_is_the_answer_unchanged(env, api):
    text = b'{"instance":  {"name":"\\u00e9", "id":"%s",\n"unknown": [1.50, null]}}' % A.encode()
    api.reply = lambda *_: (200, text)
    r = run(env, "show", A, "--json", url=api.url)
    assert r.returncode == DONE
    assert r.stdout.encode() == text + b"\n"


def test_create_finds_flavor_by_name(env, api):
    api.reply = fixed({
        "GET /flavors": {"flavors": [{"id": 1, "str_id": "1", "name": "tiny"},
                                     {"id": 2, "str_id": "2", "name": "small"}]},
        "POST /instances": {"instance": instance(A, "s", "BUILD")},
        f"GET /instances/{A}": {"instance": instance(A, "s", "BUILD")}})
    r = run(env, "create", "s", "small", "--size", "2", "--datastore", "redis",
            "--datastore_version", "7.0", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert json.loads(api.sent("POST")[0][1]) == {"instance": {
        "name": "s", "flavorRef": "2", "volume": {"size": 2},
        "datastore": {"type": "redis", "version": "7.0"}}}
    r = run(env, "create", "s", "huge", "--size", "2", url=api.url)
    assert r.returncode == REFUSED and "tiny, small" in r.stderr


def test_create_replicas(env, api):
    api.reply = fixed({
        "GET /instances": {"instances": [instance(A, "src")]},
        "POST /instances": {"instance": instance(B, "c-1", "BUILD", replica_ids=[B, C])},
        f"GET /instances/{B}": {"instance": instance(B, "c-1", "BUILD")},
        f"GET /instances/{C}": {"instance": instance(C, "c-2", "BUILD")}})
    r = run(env, "create", "c", "--replica_of", "src", "--replica_count", "2", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert json.loads(api.sent("POST")[0][1]) == {"instance": {
        "name": "c", "replica_of": A, "replica_count": 2}}
    assert B in r.stdout and C in r.stdout


@pytest.mark.parametrize("words", [
    ["create", "a"], ["create", "a", "1"], ["create", "a", "1", "--size", "1", "--replica-count", "2"],
    ["start", "a"], ["frobnicate"], [], ["show"], ["completion", "zsh"], ["list", "--marker", "x"],
])
def test_usage_errors_send_nothing(env, api, words):
    r = run(env, *words, url=api.url)
    assert r.returncode == USAGE, r.stderr
    assert api.seen == []
    assert "tanist help" in r.stderr


def test_start_rename_and_token(env, api):
    api.reply = fixed({f"POST /instances/{A}/action": (202, None), f"PUT /instances/{A}": (202, None)})
    env = env | {"TANIST_TOKEN": "secret-1"}
    assert run(env, "start", A, "--accept-data-loss", url=api.url).returncode == DONE
    assert run(env, "rename", A, "new", url=api.url).returncode == DONE
    assert api.sent("POST") == [(f"/instances/{A}/action", b'{"start":{"accept_data_loss":true}}')]
    assert json.loads(api.sent("PUT")[0][1]) == {"instance": {"name": "new"}}
    assert all(h.get("X-Auth-Token") == "secret-1" for _, _, _, h in api.seen)


def test_delete_takes_replicas_first_and_goes_on_after_a_refusal(env, api):
    def reply(method, path, _body):
        if method == "GET":
            more = {"replica_of": {"id": A, "links": []}} if A not in path else {}
            return 200, {"instance": instance(path[-36:], "n", **more)}
        return (403, fault("forbidden", 403, "not this one")) if B in path else (202, None)
    api.reply = reply
    r = run(env, "delete", A, B, C, url=api.url)
    assert r.returncode == REFUSED
    assert [p[-36:] for p, _ in api.sent("DELETE")] == [B, C, A]
    assert "not this one" in r.stderr and "1 of 3" in r.stderr


# ---- waiting ----

class Life:
    """An instance that goes through states, one per look, with a stream of events that tells."""

    def __init__(self, states, events=True):
        self.states, self.events, self.looks = states, events, 0

    def __call__(self, method, path, _body):
        if path.startswith("/events"):
            if not self.events:
                return 404, fault("itemNotFound", 404, "no such thing")
            if "after=9223372036854775807" in path:
                return 200, {"events": [], "last": 7}
            assert "after=7" in path and "wait=" in path
            return 200, {"events": [{"seq": 8, "instance": A}], "last": 7}
        if method == "POST":
            return 200, {"instance": instance(A, "s", "BUILD")}
        if method == "DELETE":
            return 202, None
        if path == "/flavors":
            return 200, {"flavors": [{"id": 1, "str_id": "1", "name": "tiny"}]}
        state = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        return (404, fault("itemNotFound", 404, "gone")) if state is None else (200, {"instance": state})


COPYING = instance(A, "s", "BUILD", sync={"done_bytes": 1 << 20, "total_bytes": 4 << 20, "estimated": True})
CREATE = ("create", "s", "tiny", "--size", "1", "--wait")


@pytest.mark.parametrize("events", [True, False])
def test_wait_until_active(env, api, events):
    api.reply = Life([instance(A, "s", "BUILD"), COPYING, instance(A, "s")], events)
    r = run(env, *CREATE, url=api.url)
    assert r.returncode == DONE, r.stderr
    assert r.stderr.splitlines()[0] == "s  BUILD"
    assert r.stderr.splitlines()[-1] == "s  ACTIVE"
    assert A in r.stdout


def test_wait_ends_in_error_with_the_fault(env, api):
    bad = instance(A, "s", "ERROR", fault={"message": "address taken", "code": 500})
    api.reply = Life([instance(A, "s", "BUILD"), bad])
    r = run(env, *CREATE, url=api.url)
    assert r.returncode == REFUSED
    assert "s: address taken" in r.stderr and "tanist delete" in r.stderr


def test_wait_has_a_limit(env, api):
    api.reply = Life([COPYING], events=False)
    r = run(env, *CREATE, "--timeout", "1", url=api.url)
    assert r.returncode == WAITED
    assert "1 of 1 is still not ACTIVE" in r.stderr and "--timeout" in r.stderr


def test_wait_until_gone(env, api):
    api.reply = Life([instance(A, "s"), instance(A, "s", "SHUTDOWN"), None])  # the look-up sees the first
    r = run(env, "delete", A, "--wait", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert r.stderr.splitlines() == ["s  SHUTDOWN", "s  gone"]


def test_json_with_wait_keeps_stdout_clean(env, api):
    api.reply = Life([instance(A, "s", "BUILD"), instance(A, "s")])
    r = run(env, *CREATE, "--json", url=api.url)
    assert r.returncode == DONE and json.loads(r.stdout)["instance"]["id"] == A


def terminal(env, words, columns):
    """Runs on a terminal of that width; returns exit status and all that was written to it."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(program(), [program(), *words], env | {"TERM": "xterm"})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out = b""
    while select.select([fd], [], [], 30)[0]:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        out += data
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out.decode()


def test_progress_is_redrawn_on_a_terminal(env, api):
    api.reply = Life([instance(A, "s", "BUILD"), COPYING, instance(A, "s")])
    status, out = terminal(env | {"TANIST_URL": api.url}, CREATE, 100)
    assert status == DONE
    assert "s  BUILD  [#####...............]  first copy 1.0 MiB of ~4.0 MiB, 25%" in out
    assert out.count("\x1b[1A") == 2  # three looks: two times back over the line


@pytest.mark.parametrize("columns,shown,left_out", [
    (200, ["NAME", "FLAVOR", A], []),
    (80, ["NAME", "FLAVOR"], [" ID", A[:4]]),
    (50, ["NAME", "STATUS", "ADDRESS"], [" ID", "FLAVOR", "SIZE"]),
])
def test_tables_fit_the_terminal(env, api, columns, shown, left_out):
    api.reply = fixed({"GET /instances": {"instances": [instance(A, "sessions", ip=["127.0.77.1"])]}})
    status, out = terminal(env | {"TANIST_URL": api.url}, ["list"], columns)
    assert status == DONE and "sessions" in out and "127.0.77.1" in out
    assert all(word in out for word in shown) and not any(word in out for word in left_out)
    assert max(len(line) for line in out.splitlines()) <= columns


def test_a_pipe_gets_names_whole_and_a_terminal_what_fits(env, api):
    long = "a-rather-long-name-" * 5
    api.reply = fixed({"GET /instances": {"instances": [instance(A, long, ip=["127.0.77.1"])]}})
    status, out = terminal(env | {"TANIST_URL": api.url}, ["list"], 100)
    assert status == DONE and long not in out and "a-rather-long-name-" in out
    assert max(len(line) for line in out.splitlines()) <= 100
    r = run(env, "list", url=api.url)
    assert long in r.stdout and A in r.stdout


# ---- what it shows ----

def test_topology_is_a_tree(env, api):
    replica = {"replica_of": {"id": A, "links": []}, "role": "replica", "group_id": "g"}
    api.reply = fixed({"GET /instances/detail": {"instances": [
        instance(A, "src", role="source", group_id="g", epoch=3, ip=["127.0.77.1"], port=6379,
                 durable=True),
        instance(C, "other", role="source", group_id="h"),
        instance(B, "copy", "BUILD", lag_bytes=2048, durable=False,
                 sync={"done_bytes": 1 << 20, "total_bytes": 2 << 20, "estimated": False}, **replica)]}})
    r = run(env, "topology", url=api.url)
    lines = r.stdout.splitlines()
    assert len(lines) == 4
    assert re.match(r"src +source +ACTIVE +127\.0\.77\.1:6379 +yes +3 +" + A, lines[1])
    assert re.match(r"└─copy +replica +BUILD 50% +2\.0 KiB +no +1\.0 MiB of 2\.0 MiB, 50% +" + B, lines[2])
    assert lines[3].startswith("other")
    r = run(env, "topology", C, url=api.url)
    assert "other" in r.stdout and "copy" not in r.stdout


def test_events_show_reason_and_figures(env, api):
    def reply(_method, path, _body):
        if "after=9223372036854775807" in path:
            return 200, {"events": [], "last": 60}
        assert path == "/events?after=10&limit=50"
        return 200, {"last": 60, "events": [{
            "seq": 60, "at_ms": 1795333023000, "time": "2026-11-22T07:37:03Z", "event": "instance.attached",
            "group_name": "src", "group": C, "instance": A, "epoch": 2, "reason": "caught up",
            "figures": "offset=14 sample=14"}]}
    api.reply = reply
    r = run(env, "events", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert r.stdout == (f"  60  2026-11-22 07:37:03  instance.attached  src/{A}  epoch 2  caught up "
                        "(offset=14 sample=14)\n")


def test_help_version_and_completion_need_no_server(env):
    for words in (["help"], ["help", "create"], ["create", "--help"], ["--version"], ["version"],
                  ["help", "--man"], ["completion", "bash"]):
        r = run(env, *words, url="http://127.0.0.1:1/v1.0/x")
        assert r.returncode == DONE and r.stdout and not r.stderr, (words, r.stderr)


def test_the_completion_script_is_one(env, tmp_path):
    script = tmp_path / "completion"
    script.write_text(run(env, "completion", "bash").stdout)
    ask = f"""source {script}; COMP_WORDS=(tanist create x --rep); COMP_CWORD=3; _tanist
              printf '%s ' "${{COMPREPLY[@]}}"; COMP_WORDS=(tanist to); COMP_CWORD=1; _tanist
              printf '%s ' "${{COMPREPLY[@]}}" """
    r = subprocess.run(["bash", "-uec", ask], env=env, capture_output=True, text=True, timeout=30)
    assert r.stdout.split() == ["--replica-of", "--replica-count", "topology"], r.stderr
