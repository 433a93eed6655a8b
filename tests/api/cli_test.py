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
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from groups import Group
from harness import Dev, wait_until

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
                  ["datastore-list"], ["delete", "x"], ["completion", "instances"],
                  ["elect", A], ["durability", A, "1"], ["promote", A, "--timeout", "1"],
                  ["delete", A, "--group"]):
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
    ["start", "a"], ["attach", "a"], ["durability", "a", "some"], ["delete", "a", "b", "--group"],
    ["create", "a", "1", "--size", "1", "--durability", "0"],
    ["create", "a", "--replica-of", "b", "--durability", "1"], ["frobnicate"], [], ["show"], ["completion", "zsh"], ["list", "--marker", "x"],
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


# ---- who is the source ----

S, R1, R2 = A, B, C
OP, OTHER, OLD = (f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "567")
GROUP, OWN_GROUP = (f"{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "89")


def running(phase, id_=OP):
    kind = phase.split("-")[0]
    return {"operation": {"id": id_, "operation": kind, "phase": phase, "target": R1,
                          "since": "2026-11-22T07:37:03Z"}}


def ended(kind, done, reason, id_=OP):
    return {"last_operation": {"id": id_, "operation": kind, "done": done, "reason": reason,
                               "at": "2026-11-22T07:37:04Z"}}


BEFORE = ended("handover", False, "that was before", OLD)


class Changing:
    """A source and two replicas. Before the request they look as `before` says; after it, look by
    look, as `looks` say. What is told of the group is the same for all members, but for the
    source's own look when `own` says that it is in another group then."""

    def __init__(self, *looks, before=BEFORE, accepted=(202, None), own=None, events=True, wait=None):
        self.looks, self.before, self.accepted = list(looks), before, accepted
        self.own, self.events, self.wait = own, events, wait
        self.sent, self.news = [], 0

    def member(self, id_):
        more = {"group_id": GROUP}
        if id_ == S:
            more["replicas"] = [{"id": R1, "links": []}, {"id": R2, "links": []}]
        else:
            more["replica_of"] = {"id": S, "links": []}
        if not self.sent:
            more |= self.before
        elif id_ == S and self.own is not None:
            more = self.own
        else:
            more |= self.looks[0]
            if len(self.looks) > 1:
                del self.looks[0]
        return instance(id_, {S: "src", R1: "one", R2: "two"}[id_], **more)

    def __call__(self, method, path, body):
        if path.startswith("/events"):
            if not self.events:
                return 404, fault("itemNotFound", 404, "no such thing")
            if "after=9223372036854775807" in path:
                return 200, {"events": [], "last": 7}
            self.news += 1
            return 200, {"events": [{"seq": 8, "group": GROUP, "instance": ""}], "last": 7 + self.news}
        if method in ("POST", "PUT"):
            assert path in (f"/instances/{S}/action", f"/instances/{R1}/action", f"/instances/{R1}")
            self.sent.append((method, path, json.loads(body)))
            return self.accepted
        if path.startswith("/instances?"):
            return 200, {"instances": [instance(S, "src"), instance(R1, "one"), instance(R2, "two")]}
        id_ = path.removeprefix("/instances/")
        return (200, {"instance": self.member(id_)}) if id_ in (S, R1, R2) else (404, fault(
            "itemNotFound", 404, "gone"))


HANDOVER = [running("handover-check"), running("handover-stage"), running("handover-fence"),
            ended("handover", True, "one is the source after 9 ms") | running("restart-compare", OTHER)]


@pytest.mark.parametrize("events", [True, False])
@pytest.mark.parametrize("word", ["promote", "promote-to-replica-source", "promote_to_replica_source"])
def test_promote_waits_and_tells_how_it_ended(env, api, word, events):
    api.reply = Changing(*HANDOVER, events=events)
    r = run(env, word, "one", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert api.reply.sent == [("POST", f"/instances/{R1}/action", {"promote_to_replica_source": {}})]
    assert r.stdout == "one is the source after 9 ms\n"
    assert r.stderr.splitlines() == ["one  handover-check", "one  handover-stage",
                                     "one  handover-fence", "one  done"]
    if events:  # held until there is news: nobody looks once a second
        assert {path.split("wait=")[1] for _, path, *_ in api.seen if "wait=" in path} == {"10"}


def test_an_operation_that_was_over_at_the_first_look(env, api):
    api.reply = Changing(ended("handover", True, "quick"))
    r = run(env, "promote", R1, url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "quick\n")


def test_an_answer_that_lags_is_not_taken_for_the_outcome(env, api):
    api.reply = Changing(BEFORE, BEFORE, *HANDOVER)
    r = run(env, "promote", R1, url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "one is the source after 9 ms\n")


@pytest.mark.parametrize("last,said", [
    (ended("handover", False, "undone: 4096 bytes behind after 2 s"), "4096 bytes behind"),
    (ended("handover", False, ""), "it was not done"),
    (ended("eject", True, "two is the source: one died before it was"), "two is the source"),
    (running("eject-drain", OTHER), "replaced by another change: eject"),
    (ended("eject", True, "later", OTHER), "replaced by another change"),
    ({}, "replaced by another change"),
])
def test_what_was_not_done_is_a_failure(env, api, last, said):
    api.reply = Changing(running("handover-check"), last)
    r = run(env, "promote", R1, url=api.url)
    assert r.returncode == REFUSED, r.stdout
    assert said in r.stderr and "tanist events" in r.stderr and r.stdout == ""


@pytest.mark.parametrize("status,key", [(400, "badRequest"), (422, "unprocessableEntity")])
def test_a_refused_change_is_not_waited_for(env, api, status, key):
    api.reply = Changing(accepted=(status, fault(key, status, "the source lives: its agent says so")))
    r = run(env, "eject", S, url=api.url)
    assert r.returncode == REFUSED and "the source lives: its agent says so" in r.stderr
    assert api.seen[-1][0] == "POST"


def test_eject_is_followed_by_those_who_stay(env, api):
    left = {"group_id": OWN_GROUP, "fault": {"message": "ejected at epoch 4: attach or delete"}}
    api.reply = Changing(running("eject-drain"), running("eject-promote"),
                      ended("eject", True, "two had the highest offset"), own=left)
    r = run(env, "eject-replica-source", "src", url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "two had the highest offset\n"), r.stderr
    assert api.reply.sent == [("POST", f"/instances/{S}/action", {"eject_replica_source": {}})]
    assert r.stderr.splitlines() == ["src  eject-drain", "src  eject-promote", "src  done"]


def test_eject_with_the_users_word(env, api):
    api.reply = Changing(ended("eject", True, "done"))
    assert run(env, "eject", S, "--accept-data-loss", url=api.url).returncode == DONE
    assert api.reply.sent[0][2] == {"eject_replica_source": {"accept_data_loss": True}}


def test_an_eject_that_nobody_can_win_is_told_and_left(env, api):
    api.reply = Changing(running("eject-drain"), running("eject-held"),
                      own={"group_id": GROUP, "fault": {"message": "one has not been heard"}})
    r = run(env, "eject", S, url=api.url)
    assert r.returncode == REFUSED
    assert "one has not been heard" in r.stderr and "--accept-data-loss" in r.stderr
    assert "tanist cancel" in r.stderr


@pytest.mark.parametrize("last,status", [
    (ended("handover", False, "cancelled: src goes on"), DONE),
    (ended("handover", True, "one is the source"), REFUSED)])
def test_cancel_wants_it_undone(env, api, last, status):
    api.reply = Changing(running("handover-undo"), last, before=running("handover-stage"))
    r = run(env, "cancel", R1, url=api.url)
    assert r.returncode == status
    assert last["last_operation"]["reason"] in (r.stdout if status == DONE else r.stderr)
    assert api.reply.sent[0][2] == {"cancel": {}}


def test_detach_follows_the_replica_into_its_group(env, api):
    api.reply = Changing({"group_id": OWN_GROUP} | running("detach-promote"),
                      {"group_id": OWN_GROUP} | ended("detach", True, "one serves by itself"))
    r = run(env, "detach-replica", "one", url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "one serves by itself\n"), r.stderr
    assert api.reply.sent == [("PUT", f"/instances/{R1}", {"instance": {"replica_of": None}})]


def test_a_change_goes_on_without_us(env, api):
    api.reply = Changing(running("handover-stage"))
    r = run(env, "promote", R1, "--timeout", "1", url=api.url)
    assert r.returncode == WAITED
    assert "waited 1 s, and it still is in handover-stage" in r.stderr
    assert "tanist cancel one" in r.stderr


@pytest.mark.parametrize("words,sent", [
    (["promote", R1], ("POST", f"/instances/{R1}/action", {"promote_to_replica_source": {}})),
    (["eject", S], ("POST", f"/instances/{S}/action", {"eject_replica_source": {}})),
    (["cancel", S], ("POST", f"/instances/{S}/action", {"cancel": {}})),
    (["detach-replica", R1], ("PUT", f"/instances/{R1}", {"instance": {"replica_of": None}})),
    (["attach", R1, "--replica-of", S], ("POST", f"/instances/{R1}/action", {"attach": {"replica_of": S}})),
])
def test_no_wait_returns_when_it_is_accepted(env, api, words, sent):
    api.reply = Changing(running("handover-stage"))
    r = run(env, *words, "--no-wait", url=api.url)
    assert (r.returncode, r.stdout) == (DONE, ""), r.stderr
    assert "tanist operations" in r.stderr
    assert api.reply.sent == [sent] and api.sent("GET") == []


@pytest.mark.parametrize("done", [True, False])
def test_json_is_the_instance_as_it_is_in_the_end(env, api, done):
    api.reply = Changing(running("handover-check"), ended("handover", done, "so it ended"))
    r = run(env, "promote", R1, "--json", url=api.url)
    assert r.returncode == (DONE if done else REFUSED)
    assert json.loads(r.stdout)["instance"]["last_operation"]["reason"] == "so it ended"
    assert done or "so it ended" in r.stderr and "tanist events" in r.stderr


def test_a_control_plane_that_restarts_meanwhile_is_waited_for(env, api):
    group = Changing(*HANDOVER)
    away = 3

    def reply(method, path, body):
        nonlocal away
        if group.sent and away > 0:
            away -= 1
            return 503, b""  # no answer of ours: closed below
        return group(method, path, body)
    api.reply = reply
    api.RequestHandlerClass = type("Closing", (Handler,), {"send_response": closing_on_503})
    r = run(env, "promote", R1, url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "one is the source after 9 ms\n"), r.stderr


def closing_on_503(self, status, *more):
    if status == 503:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
    else:
        http.server.BaseHTTPRequestHandler.send_response(self, status, *more)


def test_a_server_that_tells_nothing_of_operations(env, api):
    api.reply = fixed({f"GET /instances/{R1}": {"instance": instance(R1, "one")}})
    r = run(env, "promote", R1, url=api.url)
    assert r.returncode == REFUSED and "--no-wait" in r.stderr
    assert api.sent("POST") == []


@pytest.mark.parametrize("told", [
    {"operation": [], "last_operation": "x"}, {"operation": {"id": 1, "phase": {}}},
    {"last_operation": {"id": OP, "done": "yes", "reason": 3, "operation": None}}])
def test_odd_outcomes_do_no_harm(env, api, told):
    api.reply = Changing(told)
    r = run(env, "promote", R1, "--timeout", "1", url=api.url)
    assert r.returncode in (REFUSED, WAITED) and "Sanitizer" not in r.stderr


def test_attach_waits_until_it_is_a_replica(env, api):
    api.reply = Changing({"status": "BUILD"}, {"status": "BUILD"}, {"status": "ACTIVE"})
    r = run(env, "attach", "one", "--replica-of", "src", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert api.reply.sent == [("POST", f"/instances/{R1}/action", {"attach": {"replica_of": S}})]
    assert r.stderr.splitlines() == ["one  BUILD", "one  ACTIVE"]


@pytest.mark.parametrize("word,sent", [("async", "async"), ("2", "bounded(2)"), ("bounded(1)", "bounded(1)")])
def test_durability_prints_what_it_promises(env, api, word, sent):
    answer = {"durability": {"durability": sent, "promise": "WAIT makes a write certain"}}
    api.reply = Changing(accepted=(200, answer))
    r = run(env, "durability", "src", word, url=api.url)
    assert (r.returncode, r.stdout) == (DONE, f"{sent}: WAIT makes a write certain\n"), r.stderr
    assert api.reply.sent == [("POST", f"/instances/{S}/action", {"durability": sent})]
    r = run(env, "durability", "src", word, "--json", url=api.url)
    assert json.loads(r.stdout) == answer


def test_durability_without_a_value_asks_for_the_present_one(env, api):
    answer = {"durability": {"durability": "bounded(2)", "promise": "2 of 3"}}
    api.reply = fixed({"GET /instances?limit=1000": {"instances": [instance(S, "src")]},
                       f"GET /instances/{S}/durability": answer})
    r = run(env, "durability", S, url=api.url)
    assert (r.returncode, r.stdout) == (DONE, "bounded(2): 2 of 3\n"), r.stderr
    assert json.loads(run(env, "durability", S, "--json", url=api.url).stdout) == answer
    assert api.sent("POST") == []


def test_create_with_durability(env, api):
    api.reply = fixed({"GET /flavors": {"flavors": [{"id": 1, "str_id": "1", "name": "tiny"}]},
                       "POST /instances": {"instance": instance(A, "s", "BUILD")},
                       f"GET /instances/{A}": {"instance": instance(A, "s", "BUILD")}})
    assert run(env, "create", "s", "tiny", "--size", "1", "--durability", "1",
               url=api.url).returncode == DONE
    assert json.loads(api.sent("POST")[0][1])["instance"]["durability"] == "bounded(1)"


def election(verdict, winner, loss):
    figures = "last_io 1 s (now -1), priority 100, 5 keys, durable"
    return {"election": {
        "verdict": verdict, "winner": winner, "loss_bytes": loss, "history_start": 1235,
        "reason": "'two' (offset 3282) goes before 'one' (offset 1234): it has the higher offset",
        "candidates": [
            {"id": R1, "name": "one", "eligible": True, "why": "eligible", "offset": 1234,
             "text": f"'one': eligible; {figures}"},
            {"id": R2, "name": "two", "eligible": True, "why": "eligible", "offset": 3282,
             "text": f"'two': chosen; {figures}"},
            {"id": OTHER, "name": "gone", "eligible": False, "why": "unheard", "offset": -1,
             "text": "'gone': not eligible, it has not been heard"}]}}


@pytest.mark.parametrize("verdict,winner,loss,said", [
    ("winner", R2, 0, ["an eject would promote it\n", "chosen ", "loss:     none known"]),
    ("winner", R2, -1, ["loss:     not known"]),
    ("would-lose", R2, 4096, ["only with --accept-data-loss", "if loss is accepted",
                              "4.0 KiB known to be written"]),
    ("too-few-sealed", R2, 0, ["durability covers"]),
    ("none", None, -1, ["promote nobody"]),
])
def test_elect_shows_candidates_and_verdict(env, api, verdict, winner, loss, said):
    api.reply = fixed({f"GET /instances/{S}/election": election(verdict, winner, loss)})
    r = run(env, "elect", S, url=api.url)
    assert r.returncode == DONE, r.stderr
    lines = r.stdout.splitlines()
    assert re.match(r"one +yes +1234 +2\.0 KiB +" + R1, lines[1])
    assert re.match(r"two +yes +3282 +0 B .*" + R2, lines[2])
    assert re.match(r"gone +unheard +" + OTHER, lines[3])
    assert lines[5:8] == [c["text"] for c in election(verdict, winner, loss)["election"]["candidates"]]
    assert "higher offset" in r.stdout and all(words in r.stdout for words in said)
    assert ("loss:" in r.stdout) == (winner is not None)
    assert api.sent("POST") == []


@pytest.mark.parametrize("content", [
    {}, {"election": {}}, {"election": {"candidates": [1, None, {}], "winner": 3, "reason": [], "verdict": {}}},
    {"election": {"candidates": {"a": 1}, "loss_bytes": "x"}}])
def test_odd_elections_do_no_harm(env, api, content):
    api.reply = lambda *_: (200, content)
    r = run(env, "elect", S, url=api.url)
    assert r.returncode in (DONE, REFUSED) and "Sanitizer" not in r.stderr


def test_delete_group_takes_all_members(env, api):
    gone = set()

    def reply(method, path, body):
        if method == "POST":
            assert (path, json.loads(body)) == (f"/instances/{R1}/action", {"delete_group": {}})
            gone.update((S, R1, R2))
            return 202, None
        if path.startswith("/events"):
            return 404, fault("itemNotFound", 404, "no such thing")
        if path.startswith("/instances/detail"):
            return 200, {"instances": [instance(i, i, group_id=GROUP) for i in (S, R1, R2)] +
                         [instance(OTHER, "x", group_id=OWN_GROUP)]}
        return (404, fault("itemNotFound", 404, "gone")) if path[-36:] in gone else (
            200, {"instance": instance(path[-36:], "x")})
    api.reply = reply
    r = run(env, "delete", R1, "--group", "--wait", url=api.url)
    assert r.returncode == DONE, r.stderr
    assert sorted(r.stderr.splitlines()) == sorted(f"{i}  gone" for i in (S, R1, R2))
    assert api.sent("DELETE") == []


def test_show_prints_durability_and_operations(env, api):
    told = running("handover-stage") | ended("eject", False, "the source answers", OLD)
    api.reply = fixed({f"GET /instances/{A}": {"instance": instance(A, "s", durability="bounded(1)", **told)}})
    out = run(env, "show", A, url=api.url).stdout
    assert re.search(r"^durability +bounded\(1\)$", out, re.M)
    assert re.search(r"^operation +handover since 2026-11-22T07:37:03Z, in handover-stage$", out, re.M)
    assert re.search(r"^last_operation +eject not done 2026-11-22T07:37:04Z: the source answers$", out, re.M)


# ---- what it shows ----

def test_operations_name_the_instance(env, api):
    api.reply = fixed({"GET /operations": {"operations": [{
        "kind": "handover", "phase": "handover-stage", "group": GROUP, "group_name": "src",
        "instance": R1, "instance_name": "one", "started": "2026-11-22T07:37:02Z",
        "phase_since": "2026-11-22T07:37:03Z", "leaves_when": "all follow the target"}]}})
    lines = run(env, "operations", url=api.url).stdout.splitlines()
    assert re.match(r"src +handover +handover-stage +one +2026-11-22T07:37:03Z +all follow", lines[1])


def test_topology_is_a_tree(env, api):
    replica = {"replica_of": {"id": A, "links": []}, "role": "replica", "group_id": "g"}
    api.reply = fixed({"GET /instances/detail": {"instances": [
        instance(A, "src", role="source", group_id="g", epoch=3, ip=["127.0.77.1"], port=6379,
                 durable=True, durability="bounded(1)"),
        instance(C, "other", role="source", group_id="h", durability="async"),
        instance(B, "copy", "BUILD", lag_bytes=2048, durable=False, durability="bounded(1)",
                 sync={"done_bytes": 1 << 20, "total_bytes": 2 << 20, "estimated": False}, **replica)]}})
    r = run(env, "topology", url=api.url)
    lines = r.stdout.splitlines()
    assert len(lines) == 4
    assert re.match(r"src +source, bounded\(1\) +ACTIVE +127\.0\.77\.1:6379 +yes +3 +" + A, lines[1])
    assert re.match(r"└─copy +replica +BUILD 50% +2\.0 KiB +no +1\.0 MiB of 2\.0 MiB, 50% +" + B, lines[2])
    assert re.match(r"other +source +ACTIVE ", lines[3])
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
              printf '%s ' "${{COMPREPLY[@]}}"
              COMP_WORDS=(tanist promote-to-replica-source --no); COMP_CWORD=2; _tanist
              printf '%s ' "${{COMPREPLY[@]}}" """
    r = subprocess.run(["bash", "-uec", ask], env=env, capture_output=True, text=True, timeout=30)
    assert r.stdout.split() == ["--replica-of", "--replica-count", "topology", "--no-wait"], r.stderr


# ---- with real servers ----

@pytest.fixture(scope="module")
def dev():
    # A dead server is left alone until the test has had its word.
    with Dev(settings=["agent.restart_delay=5000"]) as d:
        yield d


def role(dev, name):
    return dev.show(name)["role"]


def test_the_life_of_a_group_by_its_commands(dev):
    group = Group(dev, name="s", more=["--durability", "1"])
    assert dev.show("s")["durability"] == "bounded(1)"
    group.fill(50)

    # A dry run, then the handover; each tells its reason.
    shown = dev.tanist("elect", "s").stdout
    assert "s-rep-1" in shown and "s-rep-2" in shown and "verdict:  an eject would promote it" in shown
    done = dev.tanist("promote", "s-rep-1")
    assert done.stdout.strip() == dev.show("s")["last_operation"]["reason"]
    assert [role(dev, n) for n in ("s", "s-rep-1", "s-rep-2")] == ["replica", "source", "replica"]
    again = dev.tanist("promote", "s-rep-1", check=False)
    assert again.returncode == REFUSED and "is not a replica" in again.stderr

    # Nothing runs: nothing to cancel. It lives: nothing to eject.
    for words in (["cancel", "s"], ["eject", "s-rep-1"], ["durability", "s", "9"],
                  ["attach", "s", "--replica-of", "s-rep-1"]):
        refused = dev.tanist(*words, check=False)
        assert refused.returncode == REFUSED and "HTTP 4" in refused.stderr, (words, refused.stderr)
    assert dev.tanist("durability", "s", "async").stdout.startswith("async: ")
    assert dev.show("s-rep-2")["durability"] == "async"

    # The source dies, and another takes over.
    group.settle()
    os.kill(dev.pid(group.members[1]), signal.SIGKILL)
    wait_until("its death is known", lambda: "HEALTHY" not in dev.show("s-rep-1")["operating_status"])
    done = dev.tanist("eject", "s-rep-1")
    assert done.stdout.strip() == dev.show("s")["last_operation"]["reason"]
    assert dev.show("s-rep-1")["status"] == "BLOCKED"
    assert "s-rep-1" in dev.tanist("topology").stdout

    # It comes back as a replica, and one goes its own way.
    wait_until("its server is started again",
               lambda: dev.tanist("attach", "s-rep-1", "--replica-of", "s", check=False).returncode == 0)
    assert role(dev, "s-rep-1") == "replica" and dev.show("s-rep-1")["status"] == "ACTIVE"
    group.settle()
    leaves = group.replicas()[0]
    wait_until("its data are on its disk", lambda: dev.show(leaves["name"])["durable"])
    dev.tanist("detach-replica", leaves["name"])
    assert role(dev, leaves["name"]) == "source" and group.has_all(leaves, 50)
    assert dev.redis(leaves).info("replication")["role"] == "master"
    dev.tanist("delete", leaves["name"], "--wait")

    # A source is not deleted alone; the group is.
    group.members.remove(leaves)
    refused = dev.tanist("delete", group.source()["name"], check=False)
    assert refused.returncode == REFUSED and "HTTP 403" in refused.stderr
    dev.tanist("delete", group.source()["name"], "--group", "--wait")
    assert dev.instances() == [] and dev.server_pids() == []
