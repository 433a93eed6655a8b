"""The recorded answers of Trove, replayed against a running tanistd.

Each case must agree in its status, in the key of its error, and in the names and types of all
fields; ids are mapped, times and texts are not looked at. What differs stands in
recorded_expectations.json:

  deliberate   this difference is meant, for this reason (doc/trove-compatibility.md, section)
  pending      the call belongs to a feature that is not there yet
  follows      the answer shows what a pending call did, so it cannot agree before

The test fails on a difference that is not listed, on a listed one that has gone, and on a pending
call that is answered as if the feature were there.
"""
import contextlib
import fnmatch
import glob
import http.client
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request

import pytest

from model_agent import ModelAgent

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("TANIST_BUILD") or os.path.join(HERE, "..", "..", "build"))
DOC = os.path.join(HERE, "..", "..", "doc", "trove-compatibility.md")
ID = re.compile(r"[0-9a-f]{8}-0000-4000-8000-[0-9a-f]{12}")
# Keys of our own at the top level of an instance: clients ignore them.
OWN = {"port", "role", "group", "group_id", "epoch", "host", "lag_bytes", "durable", "sync",
       "replica_ids", "durability", "operation", "last_operation"}
NO_SUCH_CALL = "There is no such call"
FEATURES = {"restart", "resize", "mgmt", "configuration groups", "configuration parameters",
            "backups", "root", "logs"}
# What happens right before a case is sent: a source hangs, changes stand still for a while so that
# they can be looked at, and go on. The recording calls sources without a heartbeat -nohb.
MOMENTS = {
    "set.promote-replica": "stand still",
    "promoted.list": "go on",
    "detach.put-replica_of": "stand still",
    "detached.show": "go on",
    "eject.source-stale.show": "hang heir-nohb",
    "eject.ok": "stand still",
    "ejected.show-old": "go on",
    "eject-twice.first": "hang twice-nohb, stand still",
    "eject-twice.show-heir1": "go on",
}


def read_cases():
    cases = []
    for path in sorted(glob.glob(os.path.join(HERE, "recorded", "*.jsonl"))):
        with open(path) as f:
            for line in f:
                case = json.loads(line)
                case["name"] = os.path.basename(path)[:2] + "/" + case["case"]
                cases.append(case)
    return cases


class Expectations:
    def __init__(self, cases):
        with open(os.path.join(HERE, "recorded_expectations.json")) as f:
            self.rows = json.load(f)
        names = [c["name"] for c in cases]
        self.of = {}
        for kind in ("deliberate", "pending", "follows"):
            for row in self.rows[kind]:
                for pattern in row["cases"]:
                    found = fnmatch.filter(names, pattern)
                    assert found, f"{kind}: no case is called {pattern}"
                    for name in found:
                        self.of.setdefault(name, []).append((kind, row))

    def kind(self, name):
        kinds = {kind for kind, _ in self.of.get(name, [])}
        return "pending" if "pending" in kinds else "follows" if "follows" in kinds else None

    def deliberate(self, name):
        return [row for kind, row in self.of.get(name, []) if kind == "deliberate"]


# ---- what differs ----

def type_of(value):
    return ("null" if value is None else "bool" if isinstance(value, bool) else
            "integer" if isinstance(value, int) else "number" if isinstance(value, float) else
            "text" if isinstance(value, str) else "list" if isinstance(value, list) else "object")


def differences(want, got, where="", top=False):
    """What of the names and types of `want` is not so in `got`: a list of sentences."""
    if type_of(want) != type_of(got):
        return [f"{where or 'body'} is {type_of(got)}, not {type_of(want)}"]
    if isinstance(want, dict):
        return object_differences(want, got, where, top)
    if isinstance(want, list) and want:
        if not got:
            return [f"{where} is empty"]
        if all(isinstance(x, dict) and "id" in x for x in want + got):
            return listed_differences(want, got, where)
        if len(want) != len(got):
            return [f"{where} has another length"]
        return [d for w, g in zip(want, got) for d in differences(w, g, where + "[]")]
    return []


def object_differences(want, got, where, top):
    out = []
    for key in want:
        path = f"{where}.{key}" if where else key
        if key not in got:
            out.append(f"no {path}")
        else:
            out += differences(want[key], got[key], path, top=path == "instance")
    return out + [f"new {where}.{key}" if where else f"new {key}"
                  for key in got if key not in want and not (top and key in OWN)]


def listed_differences(want, got, where):
    """Items are compared by id; what one has and the other has not is no matter of the form."""
    out, ours = [], {x["id"]: x for x in got}
    pairs = [(w, ours[w["id"]]) for w in want if w["id"] in ours]
    if not pairs:
        pairs = [(want[0], got[0])]
    for w, g in pairs:
        out += [d for d in object_differences(w, g, where + "[]", where == "instances")]
    return sorted(set(out))


def compare(case, status, content_type, body):
    answer = case["response"]
    out = []
    if status != answer["status"]:
        out.append(f"status {status}, not {answer['status']}")
    if content_type != answer["content_type"]:
        out.append(f"content type {content_type}")
    want = answer.get("json")
    if status >= 400 and answer["status"] >= 400 and isinstance(want, dict) and len(want) == 1:
        if list(want) != list(body or {}):
            return out + [f"error key {'/'.join(body or {})}, not {'/'.join(want)}"]
    if (status < 400) == (answer["status"] < 400) and (want is None) != (body is None):
        out.append("an answer with a body" if body is not None else "an answer without a body")
    elif want is not None and (status < 400) == (answer["status"] < 400):
        out += differences(want, body) + other_status(case, want, body)
    return out


def other_status(case, want, body):
    """In the cases about a change of a group the words of the status are what matters."""
    if not re.match("(promot|detach|eject)", case["case"]) or "instance" not in want:
        return []
    words = [f"{i['status']} {i['operating_status']}".strip()
             for i in (want["instance"], body["instance"])]
    return [] if words[0] == words[1] else [f"instance is {words[1]}, not {words[0]}"]


# ---- the control plane ----

class Plane:
    """tanistd with the recording's settings, and an agent without servers."""

    def __init__(self, *settings, pool="127.0.99.1-127.0.99.250"):
        self.folder = tempfile.TemporaryDirectory(prefix="tanist-recorded-")
        state = os.path.join(self.folder.name, "state")
        ready, says = os.pipe()
        self.log = open(os.path.join(self.folder.name, "log"), "w+")
        program = os.path.join(BUILD, "tanistd")
        if not os.path.exists(program):
            program = os.path.join(BUILD, "src", "server", "tanistd")
        self.process = subprocess.Popen(
            [program, "--dir", state, "--config", os.path.join(HERE, "recorded.ini"),
             "--listen", "127.0.0.1:0", "--ready-fd", str(says),
             *[word for setting in settings for word in ("--set", setting)]],
            pass_fds=[says], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.log)
        os.close(says)
        with os.fdopen(ready) as f:
            line = f.readline()
        assert line.startswith("ready "), "tanistd did not start: " + self.words()
        self.address = line.split()[1].split("//")[1].rstrip("/")
        with open(os.path.join(state, "agent.token")) as f:
            token = f.read().strip()
        self.agent = ModelAgent(self.address, token, [("redis", "6.2.14"), ("redis", "7.0.15")],
                                pool)
        self.agent.failed_names = ("-guesterror", "bad-")
        self.agent.start()
        self.until("the agent's host is known", lambda: self.hosts() == 1)
        self.projects = set()

    def hosts(self):
        """By a call that counts against nobody's rate."""
        with urllib.request.urlopen(f"http://{self.address}/metrics", timeout=30) as answer:
            return int(re.search(rb"^tanist_hosts (\d+)$", answer.read(), re.M).group(1))

    def words(self):
        self.log.seek(0)
        return self.log.read()[-2000:]

    def until(self, what, probe, last="", limit=20):
        end = time.monotonic() + limit
        while not probe():
            assert self.agent.error is None, f"the agent failed: {self.agent.error!r}"
            assert self.process.poll() is None, "tanistd ended: " + self.words()
            assert time.monotonic() < end, f"not within {limit} s: {what} {last}"
            time.sleep(0.005)

    def call(self, method, path, headers, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        with contextlib.closing(connection):
            # the client library adds a Content-Type of its own for text, so bytes are sent
            connection.request(method, path, body=None if body is None else body.encode(),
                               headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            return (answer.status, answer.getheader("Content-Type"),
                    json.loads(text) if text else None)

    def instances(self, project):
        return self.call("GET", f"/v1.0/{project}/instances?limit=1000",
                         {"X-Auth-Token": project})[2]["instances"]

    def settle(self):
        """Everything that is being built or deleted may go on, and does."""
        left = []

        def settled():
            self.agent.release()
            left[:] = [(i["name"], i["status"]) for p in self.projects for i in self.instances(p)
                       if i["status"] in ("BUILD", "SHUTDOWN", "PROMOTE", "EJECT", "DETACH")]
            return not left
        self.until("all changes have ended", settled, left)

    def close(self):
        self.agent.stop()
        self.process.terminate()
        status = self.process.wait(30)
        self.log.close()
        self.folder.cleanup()
        return status


# ---- the replay ----

class Replay:
    def __init__(self, plane, cases, expectations):
        self.plane, self.expectations = plane, expectations
        self.still = False # something stands still, or hangs: nothing settles
        self.names = {}    # recorded id -> name in the recording
        self.ids = {}      # recorded id -> ours
        for case in cases:
            self.learn_names(case["response"].get("json"))

    def learn_names(self, value):
        if isinstance(value, dict):
            if "operating_status" in value:
                self.names.setdefault(value["id"], value["name"])
            for v in value.values():
                self.learn_names(v)
        elif isinstance(value, list):
            for v in value:
                self.learn_names(v)

    def learn_ids(self, project):
        """Ids that the recording does not show at once (replicas but one) are known by name."""
        ours = {}
        for i in self.plane.instances(project):
            ours.setdefault(i["name"], i["id"])
        for theirs, name in self.names.items():
            if theirs not in self.ids and name in ours and name != "x":
                self.ids[theirs] = ours[name]

    def mapped(self, text):
        return ID.sub(lambda m: self.ids.get(m.group(), m.group()), text)

    def stand_in(self, case, project, kind):
        """A copy for a call that would take away what later cases need."""
        before = {i["id"] for i in self.plane.instances(project)}
        body = {"instance": {"name": "stand-in", "flavorRef": "1", "volume": {"size": 1},
                             "datastore": {"type": "redis", "version": "7.0"}}}
        if kind == "replica":
            like = next(i for i in self.plane.instances(project)
                        if i["id"] in self.mapped(case["request"]["path"]))
            body = {"instance": {"name": "stand-in", "replica_of": like["replica_of"]["id"]}}
        headers = {"X-Auth-Token": project, "Content-Type": "application/json"}
        status, _, answer = self.plane.call("POST", f"/v1.0/{project}/instances", headers,
                                            json.dumps(body))
        assert status == 200 and answer["instance"]["id"] not in before
        if kind == "replica":
            self.plane.settle()
        return ID.sub(answer["instance"]["id"], case["request"]["path"], count=1)

    def send(self, case):
        request = case["request"]
        path, body = self.mapped(request["path"]), request["body"]
        project = path.split("/")[2] if path.startswith("/v1.0/t") else None
        listed = self.expectations.deliberate(case["name"]) if self.expectations else []
        for row in listed:
            if row.get("stand_in"):
                path = self.stand_in(case, project, row["stand_in"])
        if body is not None:
            body = self.mapped(body)
        got = self.plane.call(request["method"], path, request["headers"], body)
        if got[0] == 200 and request["method"] == "POST" and path.endswith("/instances"):
            self.created(case, project, got[2]["instance"])
        return got

    def created(self, case, project, ours):
        self.plane.projects.add(project)
        theirs = (case["response"].get("json") or {}).get("instance")
        if theirs and theirs["name"] == ours["name"]:
            self.ids[theirs["id"]] = ours["id"]
        self.learn_ids(project)

    def hang(self, name):
        self.plane.settle()
        ours = next(i["id"] for i in self.plane.instances("tr") if i["name"] == name)
        self.plane.agent.hang(ours)
        self.plane.until("the source is seen to hang", lambda: any(
            i["id"] == ours and i["operating_status"] == "BLOCKED"
            for i in self.plane.instances("tr")))

    def pass_moment(self, name):
        moment = MOMENTS.get(name, "")
        if moment.startswith("hang"):
            self.hang(moment.split(",")[0].split()[1])
        if "stand still" in moment:
            if not self.plane.agent.hung:
                self.plane.settle()
            self.plane.agent.stall(True)
        if "go on" in moment:
            self.plane.agent.stall(False)
        if moment:
            self.still = "go on" not in moment

    def run(self, case):
        self.pass_moment(case["case"])
        if "building" not in case["case"] and not self.still:
            self.plane.settle()
        status, content_type, body = self.send(case)
        want = json.loads(self.mapped(json.dumps(case["response"])))
        return status, body, compare(dict(case, response=want), status, content_type, body)


def feature_is_there(status, body):
    message = next(iter(body.values()), {}).get("message", "") if isinstance(body, dict) else ""
    return not (status == 501 or (status == 404 and message.startswith(NO_SUCH_CALL)))


def test_recorded_answers():
    cases = read_cases()
    expectations = Expectations(cases)
    plane = Plane()
    count = {"agree": 0, "deliberate": 0, "pending": 0, "follows": 0}
    wrong = []
    try:
        replay = Replay(plane, cases, expectations)
        for case in cases:
            name, kind = case["name"], expectations.kind(case["name"])
            status, body, found = replay.run(case)
            assert status != 500, f"{name}: {body}"
            if kind == "pending":
                if feature_is_there(status, body):
                    wrong.append(f"{name}: pending, but the call answers {status} {body}")
                count["pending"] += 1
                continue
            if kind == "follows":
                count["follows"] += 1
                continue
            listed = [d for row in expectations.deliberate(name) for d in row["differences"]]
            wrong += [f"{name}: {d} {json.dumps(body)[:300] if 'status' in d else ''}"
                      for d in found if d not in listed]
            wrong += [f"{name}: listed, but gone: {d}" for d in listed if d not in found]
            count["deliberate" if listed else "agree"] += 1
    finally:
        status = plane.close()
    print("\n" + "\n".join(f"{kind:12}{n:5}" for kind, n in count.items()))
    assert not wrong, "\n".join(wrong)
    assert status == 0


def test_the_list_is_sound():
    """Every row has its reason, and every deliberate one its section in the manual."""
    expectations = Expectations(read_cases()).rows
    with open(DOC) as f:
        doc = f.read()
    for row in expectations["deliberate"]:
        assert row["reason"] and row["differences"]
        assert f"\n## {row['section']}\n" in doc, row["section"]
    for row in expectations["pending"] + expectations["follows"]:
        assert row["feature"] in FEATURES, row
    pending = {row["feature"] for row in expectations["pending"]}
    assert {row["feature"] for row in expectations["follows"]} <= pending


@pytest.mark.parametrize("want, got, says", [
    ({"a": 1}, {"a": 1}, []),
    ({"a": 1}, {}, ["no a"]),
    ({"a": 1}, {"a": "1"}, ["a is text, not integer"]),
    ({"a": 1}, {"a": True}, ["a is bool, not integer"]),
    ({"a": 1.5}, {"a": 1}, ["a is integer, not number"]),
    ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, ["new a.c"]),
    ({"instance": {"id": "1"}}, {"instance": {"id": "1", "port": 1}}, []),
    ({"instance": {"volume": {}}}, {"instance": {"volume": {"port": 1}}},
     ["new instance.volume.port"]),
    ({"a": [1]}, {"a": []}, ["a is empty"]),
    ({"a": [{"x": 1}]}, {"a": [{"x": 1}, {"x": 2}]}, ["a has another length"]),
    ({"instances": [{"id": "1", "ip": []}]}, {"instances": [{"id": "2"}, {"id": "1"}]},
     ["no instances[].ip"]),
])
def test_the_comparison_sees(want, got, says):
    assert differences(want, got) == says
