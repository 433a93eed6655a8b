"""Bad input gets a clear error, changes nothing, and never a 500 (issue's "What bad input gets")."""
import itertools
import json
import os
import re
import socket
import subprocess

import pytest

from harness import BUILD, Dev, free_port

GOOD = {"name": "x", "flavorRef": "1", "volume": {"size": 1},
        "datastore": {"type": "redis"}}
ODD = [None, True, 0, -1, 1.5, 10**30, "", " ", "x" * 300, "\u0000", "\ud83d\ude00", [], [1], {},
       {"a": {}}, "../../etc/passwd", "1; DROP TABLE", "%s%n", "line\nbreak"]


@pytest.fixture(scope="module")
def dev():
    with Dev() as d:
        d.create("witness")
        d.replicas("witness", 1, "witness-replica")
        yield d


@pytest.fixture(autouse=True)
def nothing_changes(dev):
    def state():
        return [(i["id"], i["name"], i["status"]) for i in dev.instances()]
    before, run = state(), dev.info(dev.show("witness"))["run_id"]
    yield
    after = state()
    for leftover in after:
        if leftover not in before:
            dev.tanist("delete", leftover[0], "--wait")
    assert after == before
    assert dev.info(dev.show("witness"))["run_id"] == run


def refused(dev, method, path, body, headers=None):
    status, answer = dev.api.call(method, path, body, headers)
    assert 400 <= status < 500 or status == 501, (method, path, body, status, answer)
    if answer is not None:
        (key, fault), = answer.items()
        assert fault["code"] == status and fault["message"].strip(), answer
    return status, answer


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b'{"instance":1}',
                                  b'{"instance":null}', b'{"instance":[]}', b'{"instance":{}}',
                                  b'{"instance":{"name":"a","name":"b"}}', b"\xff\xfe",
                                  b"[" * 5000, b'{"a":' * 3000, b'{"instance":{"name":"\\ud800"}}'])
def test_malformed_bodies(dev, body):
    refused(dev, "POST", "/instances", body)
    if body != b'{"instance":{}}':  # detaches a configuration group, as some clients say it
        refused(dev, "PUT", f"/instances/{dev.show('witness')['id']}", body)
    refused(dev, "POST", f"/instances/{dev.show('witness')['id']}/action", body)


@pytest.mark.parametrize("field", sorted(GOOD) + ["replica_of", "replica_count", "nics", "locality",
                                                  "restorePoint", "configuration", "users",
                                                  "databases", "access", "availability_zone",
                                                  "volume.size", "datastore.type",
                                                  "datastore.version", "durability"])
def test_wrong_types_and_values(dev, field):
    """Each odd value in each field: an error below 500 that names the field, or (where Trove lets
    it pass) an instance that is then taken away again."""
    for odd in ODD:
        body = json.loads(json.dumps(GOOD))
        where = body
        *path, last = field.split(".")
        for step in path:
            where = where.setdefault(step, {})
        where[last] = odd
        status, answer = dev.api.call("POST", "/instances", {"instance": body})
        assert status < 500 or status == 501, (field, odd, status, answer)
        if status == 200:
            dev.tanist("delete", answer["instance"]["id"], "--wait")
        elif status == 400:
            assert last in json.dumps(answer) or "body" in json.dumps(answer), (field, odd, answer)


ACTIONS = ["promote_to_replica_source", "eject_replica_source", "cancel", "attach", "durability",
           "delete_group", "adopt", "start", "restart", "resize", "reset_status"]


@pytest.mark.parametrize("action", ACTIONS)
def test_odd_values_of_actions(dev, action):
    """Where Trove looks at no value, the states of these two make that a refusal as well."""
    source, replica = dev.show("witness"), dev.show("witness-replica")
    for odd in ODD:
        about = source if action == "promote_to_replica_source" else replica
        if action == "delete_group" and isinstance(odd, dict):
            continue  # means it
        refused(dev, "POST", f"/instances/{about['id']}/action", {action: odd})
    for key, odd in itertools.product(("accept_data_loss", "replica_of", "x"), ODD):
        if action == "delete_group" or (action == "promote_to_replica_source"):
            continue
        refused(dev, "POST", f"/instances/{replica['id']}/action", {action: {key: odd}})
    refused(dev, "POST", f"/instances/{replica['id']}/action", {action: {}, "cancel2": {}})


def test_operations_that_cannot_begin(dev):
    source, replica = dev.show("witness"), dev.show("witness-replica")

    def act(about, action, status, words):
        got, answer = refused(dev, "POST", f"/instances/{about['id']}/action", action)
        assert got == status and words in json.dumps(answer), (action, got, answer)
    act(source, {"promote_to_replica_source": {}}, 400, "is not a replica")
    act(replica, {"eject_replica_source": {}}, 400, "is not a replica source")
    act(source, {"eject_replica_source": {}}, 400, "current heartbeat")
    act(source, {"eject_replica_source": {"accept_data_loss": True}}, 400, "current heartbeat")
    act(source, {"cancel": {}}, 422, "Nothing runs")
    act(replica, {"attach": {"replica_of": source["id"]}}, 422, "ACTIVE")
    act(source, {"durability": "bounded(9)"}, 400, "has 1")
    for key in ("replica_of", "slave_of"):
        for value in ODD:
            status, _ = refused(dev, "PATCH", f"/instances/{source['id']}",
                                {"instance": {key: value}})
            assert status == 400
    unknown = "00000000-0000-4000-8000-00000000dead"
    for name in (unknown, "witness", "x" * 5000):
        assert refused(dev, "GET", f"/instances/{name}/election", None)[0] == 404


def test_unknown_ids_and_other_projects(dev):
    unknown = "00000000-0000-4000-8000-00000000dead"
    mine = dev.show("witness")["id"]
    other = dev.api.base.replace("/dev", "/other")
    for name in (unknown, "witness", "x" * 5000, "%2e%2e", "a%00b", "..", "%ff"):
        for method, body in (("GET", None), ("DELETE", None), ("PUT", {"instance": {"name": "y"}})):
            refused(dev, method, f"/instances/{name}", body)
    dev.api.base, keep = other, dev.api.base
    try:
        for method, body in (("GET", None), ("DELETE", None), ("PUT", {"instance": {"name": "y"}}),
                             ("PATCH", {"instance": {"name": "y"}})):
            assert refused(dev, method, f"/instances/{mine}", body)[0] == 404
        assert refused(dev, "POST", "/instances", {"instance": {
            "name": "thief", "replica_of": mine}})[0] == 404
    finally:
        dev.api.base = keep


def test_refused_states(dev):
    source, replica = dev.show("witness"), dev.show("witness-replica")
    status, answer = refused(dev, "DELETE", f"/instances/{source['id']}", None)
    assert status == 403 and "replica" in json.dumps(answer)
    status, _ = refused(dev, "POST", "/instances", {"instance": {
        "name": "x", "replica_of": replica["id"]}})
    assert status == 403
    status, answer = refused(dev, "POST", "/instances", {"instance": {
        "name": "x", "replica_of": source["id"], "replica_count": 99}})
    assert status in (400, 413) and "replica" in json.dumps(answer)
    status, _ = refused(dev, "POST", f"/instances/{source['id']}/action",
                        {"start": {"accept_data_loss": True}})
    assert status == 422


def test_unknown_routes_and_queries(dev):
    for method, path in itertools.product(("GET", "POST", "PUT", "DELETE", "PATCH"),
                                          ("/nothing", "/instances/", "/instances/a/b/c")):
        body = {} if method != "GET" else None
        assert refused(dev, method, path, body)[0] == 404
    for query in ("limit=x", "limit=-1", "limit=99999999999999999999", "marker=nobody",
                  "marker=00000000-0000-4000-8000-00000000dead"):
        refused(dev, "GET", "/instances?" + query, None)


def raw(dev, text, limit=40):
    """Sends bytes as they are; returns what comes back until the other side closes."""
    host, port = dev.api.host.split(":")
    with socket.create_connection((host, int(port)), timeout=limit) as s:
        s.sendall(text)
        got = b""
        while True:
            try:
                part = s.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            got += part
            if re.search(rb"\r\n\r\n", got) and b"Connection: close" not in text:
                break
        return got


@pytest.mark.parametrize("text,status", [
    (b"GARBAGE\r\n\r\n", None),
    (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
    (b"POST /v1.0/dev/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n"
     b"\r\n{}", b"400"),
    (b"POST /v1.0/dev/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
    (b"POST /v1.0/dev/instances HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
     b"Content-Length: 99999999\r\n\r\n", b"413"),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", None),
])
def test_requests_that_are_none(dev, text, status):
    got = raw(dev, text)
    assert b" 500 " not in got.split(b"\r\n")[0]
    if status:
        assert status in got.split(b"\r\n")[0], got


@pytest.mark.parametrize("line,words", [
    ("[api]\nlisten = nowhere\n", ":2:"),
    ("[api]\npage_size = many\n", ":2:"),
    ("[nonsense]\na = b\n", ":1:"),
    ("[redis]\nreplication_strategy = MariaDBGTIDReplication\n", "RedisSyncReplication"),
    ("[quota]\ninstances = 5\ninstances\n", ":3:"),
])
def test_bad_settings_are_named_with_their_line(tmp_path, line, words):
    path = tmp_path / "tanist.conf"
    path.write_text(line)
    done = subprocess.run([os.path.join(BUILD, "tanistd"), "--dir", str(tmp_path / "d"), "--config",
                           str(path), "--listen", f"127.0.0.1:{free_port()}"],
                          capture_output=True, text=True, timeout=30)
    assert done.returncode != 0 and words in done.stderr, done.stderr


@pytest.mark.parametrize("damage", ["not a database", "truncated", "newer"])
def test_a_store_that_cannot_be_trusted_is_refused(damage):
    with Dev() as d:
        d.create("kept")
        d.stop()
        path = os.path.join(d.dir, "tanistd", "tanist.db")
        if damage == "not a database":
            open(path, "wb").write(b"this is no database, it is a text" * 100)
        elif damage == "truncated":
            with open(path, "r+b") as f:
                f.truncate(os.path.getsize(path) // 2)
        else:
            import sqlite3
            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 999")
        done = subprocess.run([os.path.join(BUILD, "tanistd"), "--dir",
                               os.path.join(d.dir, "tanistd"), "--listen",
                               f"127.0.0.1:{free_port()}"],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode != 0
        assert "tanist.db" in done.stderr
        assert ("newer" in done.stderr) == (damage == "newer"), done.stderr
