"""What agent and control plane make of a partner that is gone, mad, foreign or lying.

The agent against stand-ins for the control plane, with real servers: whatever it hears, what runs
goes on running. The control plane against reports that no agent of ours sends: what is said of
somebody else's instances counts for nothing, and is told.
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import uuid

import pytest

from agent_test import Control, Host, Redis, wait_for
from harness import BUILD, Api, Dev, wait_until

STEADY_S = 1.2  # a beat of the agent at least; a test asks for its attempts besides


# ---- the agent ----

class Mad:
    """Listens where the control plane was, and gives every request the same answer."""

    def __init__(self, port, answer):
        self.answer, self.asked, self.connections = answer, 0, []
        self.socket = socket.create_server(("127.0.0.1", port), backlog=64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            self.asked += data.startswith(b"GET /agent/v1/goals")
            if self.answer is None:
                return  # never: the connection stays open
            connection.sendall(self.answer)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.close()


def http(status, body, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n").encode() + body


def goals(**changes):
    """An answer to both calls of the agent: no goals at all."""
    return http(200, {"wire": 1, "installation": str(uuid.uuid4()), "revision": 9,
                      "watch_revision": 1, "want_full": False, "goals": [], "watches": [],
                      **changes})


MAD = {
    "nothing listens": "gone",
    "it answers nothing": None,
    "it hangs up": b"",
    "no HTTP": b"\x00\xff\x01garbage\r\n\r\n",
    "500": http(500, b"oops", "text/plain"),
    "503": http(503, {"serviceUnavailable": {"code": 503, "message": "no store"}}),
    "401": http(401, {}),
    "404": http(404, {}),
    "302": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "204 without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a web page": http(200, b"<html>welcome</html>", "text/html"),
    "an empty body": http(200, b""),
    "null": http(200, b"null"),
    "an empty object": http(200, {}),
    "a list": http(200, []),
    "half of it": goals()[:-20],
    "a newer protocol": goals(wire=2),
    "no installation": goals(installation=""),
    "another installation": goals(),
    "far too much": http(200, b"[" * (20 << 20)),
    "very deep": http(200, b"[" * 100000),
}


@pytest.fixture
def control():
    c = Control()
    yield c
    c.close()


@pytest.fixture
def host(control, tmp_path, request):
    h = Host(control, str(tmp_path), 1 + abs(hash(request.node.name)) % 250)
    h.start()
    yield h
    h.end()
    assert "Sanitizer" not in h.log_text() and "runtime error" not in h.log_text(), h.log_text()


def goes_on(host, source, pid, redis, during=lambda: True):
    end = time.monotonic() + STEADY_S
    n = 0
    while time.monotonic() < end or not during():
        n += 1
        assert redis("SET", "still", n) == "OK"
        assert host.pid(source) == pid and os.path.exists(f"/proc/{pid}")
        assert host.agent.poll() is None, host.log_text()
        assert time.monotonic() < end + 20, "the stand-in was never asked"
        time.sleep(0.05)
    return n


@pytest.mark.parametrize("how", MAD)
def test_an_agent_that_sees_no_goals_stops_nothing(host, control, how):
    port = 7000
    source = host.source(port)
    run = host.applied(source)["run_id"]
    pid, redis = host.pid(source), Redis(host.address, port)
    control.close()
    mad = Mad(control.port, MAD[how]) if MAD[how] != "gone" else None
    try:
        goes_on(host, source, pid, redis, lambda: mad is None or mad.asked > 0)
        # The same for an agent that starts while it is so: it adopts what it finds.
        host.stop(signal.SIGKILL)
        before = len(host.log_text())
        host.start(wait=False)  # it is ready when a control plane has heard it
        n = goes_on(host, source, pid, redis, lambda: "server.adopted" in host.log_text()[before:])
        # It gives a call up on its own limit, which may be longer than what was looked at above.
        wait_for("the agent says what is wrong", lambda: any(
            event in host.log_text() for event in ("link.lost", "goals.refused")))
    finally:
        if mad:
            mad.close()
    control.observations.clear()
    control.open()
    assert host.applied(source)["run_id"] == run
    assert redis("GET", "still") == str(n)


def test_a_goal_that_is_none_changes_nothing(host, control):
    """Damaged goals among good ones: nothing of such an answer is carried out."""
    source = host.source(7300)
    run = host.applied(source)["run_id"]
    good = dict(control.goals[source], revision=control.revision + 100)  # else refused as old
    control.close()
    bad = [{**good, "run": "stop"}, {**good, "epoch": -1}, {**good, "run": "delete", "epoch": "2"},
           {**good, "role": "king"}, {**good, "instance": "../../etc"}, {**good, "port": 99999},
           {**good, "maxmemory_policy": "noeviction\nrequirepass x" * 9},
           {k: good[k] for k in ("instance", "run")}, "delete", None, 5]
    for goal in bad:
        mad = Mad(control.port, goals(installation=control.installation, goals=[goal]))
        try:
            wait_for("it was asked", lambda: mad.asked > 0)
        finally:
            mad.close()
        assert Redis(host.address, 7300)("PING") == "PONG", goal
    assert "requirepass" not in open(host.path(source, "redis.conf")).read()
    control.observations.clear()
    control.open()
    assert host.applied(source)["run_id"] == run


# ---- the control plane ----

@pytest.fixture(scope="module")
def dev():
    with Dev() as d:
        d.create("mine")
        d.replicas("mine", 1, "copy")
        yield d


@pytest.fixture(autouse=True)
def nothing_changes(request):
    if "dev" not in request.fixturenames:
        yield
        return
    d = request.getfixturevalue("dev")

    def state():
        return [(i["id"], i["name"], i["status"], i["operating_status"], i["epoch"],
                 d.info(i)["run_id"]) for i in d.instances()]
    before = state()
    yield
    wait_until("all is as before", lambda: state() == before, 10)


class Liar:
    """A host by hand: it says what a test wants."""

    def __init__(self, d, name, host=None, token=None):
        self.api = Api("http://" + d.api.host)
        with open(os.path.join(d.dir, "tanistd", "agent.token")) as f:
            self.token = f.read().strip() if token is None else token
        self.host, self.session, self.seq = host or str(uuid.uuid4()), str(uuid.uuid4()), 0
        self.about = {"id": self.host, "name": name, "addresses": "127.0.66.1-127.0.66.9",
                      "ports": "6379", "memory_bytes": 1 << 30, "disk_bytes": 1 << 30,
                      "datastores": []}

    def call(self, method, path, body=None):
        return self.api.call(method, path, body, {"Authorization": "Bearer " + self.token})

    def message(self, observations=(), orphans=(), **changes):
        self.seq += 1
        return {"wire": 1, "host": self.host, "session": self.session, "seq": self.seq,
                "full": True, "about": self.about, "observations": list(observations),
                "orphans": list(orphans), **changes}

    def report(self, *args, **changes):
        return self.call("POST", "/agent/v1/report", self.message(*args, **changes))

    def goals(self):
        return self.call("GET", f"/agent/v1/goals?host={self.host}&after=0&watch=0&wait=0")


def message(body):
    return next(iter(body.values()))["message"]


def plane_log(d):
    with open(os.path.join(d.dir, "tanistd.log"), errors="replace") as f:
        return f.read()


def own_host(d):
    with open(os.path.join(d.dir, "agent", "host.json")) as f:
        return json.load(f)["id"]


def steady(d):
    """For some beats of the real agent."""
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert [(i["status"], i["operating_status"]) for i in d.instances()] == \
            [("ACTIVE", "HEALTHY")] * 2
        time.sleep(0.1)


def test_a_second_host_of_the_same_name_is_refused(dev):
    name = dev.show("mine")["host"]
    liar = Liar(dev, name)
    status, body = liar.report()
    assert status == 409, (status, body)
    text = message(body)
    assert name in text and own_host(dev) in text and "agent.name" in text, text
    assert liar.goals()[1].get("goals", []) == []  # nor does it get to see what is secret
    steady(dev)


def test_a_second_agent_of_the_same_name_says_so_and_goes_on(dev, tmp_path):
    """The real one: it tells its operator what to set."""
    log = open(tmp_path / "log", "w+")
    agent = subprocess.Popen(
        [os.path.join(BUILD, "tanist-agent"), "--dir", str(tmp_path / "agent"), "--server",
         "http://" + dev.api.host, "--token-file", os.path.join(dev.dir, "tanistd", "agent.token"),
         "--set", "agent.name=" + dev.show("mine")["host"]], stdin=subprocess.DEVNULL, stderr=log)
    try:
        wait_until("it says so", lambda: "known as" in open(log.name).read())
        steady(dev)
        assert agent.poll() is None
    finally:
        agent.terminate()
        assert agent.wait(20) == 0
        log.close()


def test_a_host_that_changes_its_name_is_refused(dev):
    """Its instances are bound to the name it had."""
    liar = Liar(dev, "renamed", host=own_host(dev))
    status, body = liar.report()
    assert status == 409 and "agent.name" in message(body), (status, body)
    liar = Liar(dev, "two-faced")
    liar.about["id"] = str(uuid.uuid4())
    assert liar.report()[0] == 400
    steady(dev)


def test_what_a_host_says_of_anothers_instances_counts_for_nothing(dev):
    liar = Liar(dev, "liar")
    assert liar.report()[0] == 200
    wait_until("it is known", lambda: "liar" in json.dumps(dev.events()))
    lies = [{"proc": "exited"}, {"proc": "failed", "error": "it lies"}, {"proc": "deleted"},
            {"proc": "running", "role": "master", "run_id": "f" * 40, "replid": "e" * 40},
            {"proc": "running", "guarded": True, "role": "replica", "run_id": "f" * 40},
            {"proc": "running", "goal_epoch": 99, "goal_applied": True},
            {"proc": "running", "goal_epoch": 1, "goal_revision": 1 << 40}]
    for lie in lies:
        status, body = liar.report([{"instance": i["id"], **lie} for i in dev.instances()])
        assert status == 200, (lie, body)  # the rest of a report counts
        assert [(i["status"], i["operating_status"]) for i in dev.instances()] == \
            [("ACTIVE", "HEALTHY")] * 2, lie
    steady(dev)
    assert "observation.refused" in plane_log(dev)
    assert liar.goals()[1].get("goals", []) == []


def test_a_host_cannot_confirm_the_delete_of_anothers_instance(dev):
    """The order stands until the host that has it confirms; that one is stopped for a moment."""
    gone = dev.create("gone")
    with open(os.path.join(dev.dir, "agent", "lock")) as f:
        agent = int(re.search(r"\d+", f.read()).group())
    os.kill(agent, signal.SIGSTOP)
    try:
        dev.tanist("delete", "gone")
        liar = Liar(dev, "confirmer")
        assert liar.report([{"instance": gone["id"], "proc": "deleted", "goal_applied": True,
                             "goal_epoch": 1}])[0] == 200
        time.sleep(0.5)
        assert liar.report([{"instance": gone["id"], "proc": "deleted", "goal_applied": True,
                             "goal_epoch": 1}])[0] == 200
        assert dev.show("gone")["status"] == "SHUTDOWN"
    finally:
        os.kill(agent, signal.SIGCONT)
    wait_until("its own host confirms", lambda: "gone" not in [i["name"] for i in dev.instances()])
    assert not os.path.exists(dev.folder(gone))


def test_an_orphan_is_told_of_once_and_is_no_instance(dev):
    """An instance that lives elsewhere, found on another host, is one as well: it is a double."""
    liar = Liar(dev, "finder")
    liar.report()
    stranger = str(uuid.uuid4())
    for _ in range(5):
        assert liar.report(orphans=[{"instance": stranger, "detail": "has files here"},
                                    {"instance": dev.show("mine")["id"], "detail": "a double"}]
                           )[0] == 200
    told = wait_until("it is told of", lambda: [e for e in dev.events()
                                                if e["event"] == "orphan.found"])
    time.sleep(0.5)
    told = [e for e in dev.events() if e["event"] == "orphan.found"]
    assert len([e for e in told if stranger in json.dumps(e)]) == 1
    assert len([e for e in told if dev.show("mine")["id"] in json.dumps(e)]) == 1
    steady(dev)


def test_a_host_of_another_installation_is_refused(dev):
    liar = Liar(dev, "foreign")
    status, body = liar.report(installation=str(uuid.uuid4()))
    assert status == 409 and "installation" in message(body), (status, body)
    assert "foreign" not in json.dumps(dev.events())


@pytest.mark.parametrize("token", ["", "wrong", "x" * 4000, "%s%n", "é"])
def test_a_wrong_token_is_refused(dev, token):
    with contextlib.suppress(UnicodeEncodeError):
        liar = Liar(dev, "nobody", token=token)
        for status, body in (liar.report(), liar.goals()):
            assert status == 401, (status, body)
            assert "goals" not in json.dumps(body)
    assert "nobody" not in json.dumps(dev.events())


ODD = [None, True, -1, 1.5, 10**30, "", "x" * 5000, "\u0000", [], {}, [{}], [None]]
FIELDS = ["wire", "host", "session", "seq", "full", "about", "observations", "orphans",
          "installation", "highest_epoch"]


@pytest.mark.parametrize("field", FIELDS)
def test_malformed_reports_get_an_error_that_names_the_field(dev, field):
    for odd in ODD:
        liar = Liar(dev, "odd-" + field.replace("_", "-"))
        status, body = liar.call("POST", "/agent/v1/report", dict(liar.message(), **{field: odd}))
        assert status in (200, 400, 409), (field, odd, status, body)
        if status == 400:
            assert field in message(body) or "column" in message(body), (field, odd, body)


@pytest.mark.parametrize("field", ["instance", "proc", "role", "run_id", "replid", "offset",
                                   "goal_epoch", "goal_revision", "error", "keys", "link_up"])
def test_malformed_observations_never_break_anything(dev, field):
    for odd in ODD:
        liar = Liar(dev, "odd-seen")
        status, body = liar.report([{"instance": dev.show("mine")["id"], "proc": "running",
                                     field: odd}])
        assert status in (200, 400, 409), (field, odd, status, body)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 5000, b"{}",
                                  b'{"wire":1}'])
def test_bodies_that_are_no_report(dev, body):
    status, answer = Liar(dev, "nobody").call("POST", "/agent/v1/report", body)
    assert status == 400 and message(answer).strip(), (body, status, answer)


def test_a_newer_agent_is_told_that_it_is(dev):
    status, answer = Liar(dev, "nobody").report(wire=2)
    assert status == 409 and "newer" in message(answer), (status, answer)


def test_goals_are_asked_for_with_care(dev):
    liar = Liar(dev, "asker")
    for query in ("", "?host=x", "?host=" + str(uuid.UUID(int=0)),
                  f"?host={liar.host}&after=-1", f"?host={liar.host}&after=x",
                  f"?host={liar.host}&wait=99999", f"?host={liar.host}&watch=1e9"):
        status, body = liar.call("GET", "/agent/v1/goals" + query)
        assert status == 400, (query, status, body)
    status, body = liar.goals()  # never reported: nothing is known of it
    assert status == 200 and body.get("goals", []) == []


def test_reports_that_are_late_or_lost_do_not_count_twice(dev):
    liar = Liar(dev, "late")
    assert liar.report()[0] == 200
    first = liar.session
    liar.session, liar.seq = str(uuid.uuid4()), 0
    assert liar.report()[0] == 200
    second = liar.session
    # One of the session before, long on its way: the agent has started anew since.
    liar.session, liar.seq = first, 5
    assert liar.report()[0] == 200
    liar.session, liar.seq = second, 1
    status, body = liar.report(full=False)
    assert status == 200 and not body.get("want_full"), body
    liar.seq = 7  # some between are lost: everything is asked for
    status, body = liar.report(full=False)
    assert status == 200 and body["want_full"], body
