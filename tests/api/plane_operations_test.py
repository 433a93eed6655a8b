"""Operations of a group through the API, against a control plane with a modelled agent: what is
accepted when, what is answered, what becomes of the records. Whether data survives is shown on real
servers elsewhere."""
import contextlib
import http.client
import json
import re
import socket
import threading

import pytest

from plane_test import call, create, fixture_start, replicas  # noqa: F401 (a fixture)

POOL = "127.0.96.1-127.0.96.40"


@pytest.fixture(name="plane")
def fixture_plane(start):
    return start(pool=POOL)


def show(plane, instance):
    status, body = call(plane, "GET", f"/v1.0/t1/instances/{instance['id']}")
    assert status == 200, body
    return body["instance"]


def act(plane, instance, action, status=202, words=""):
    got, body = call(plane, "POST", f"/v1.0/t1/instances/{instance['id']}/action", action)
    assert got == status, (action, body)
    text = json.dumps(body)
    assert words in text, (action, text)
    return body


def group(plane, n, name="s", **changes):
    """A source and n replicas of it, all ACTIVE."""
    source = create(plane, name=name, **changes)
    plane.settle()
    ids = replicas(plane, source, name=name + "-r", replica_count=n)["replica_ids"] if n else []
    plane.settle()
    return source, [{"id": i} for i in ids]


def events(plane, kind):
    body = call(plane, "GET", "/v1.0/t1/events?limit=1000")[1]
    return [e for e in body["events"] if e["event"] == kind]


def until_status(plane, instance, *wanted):
    plane.until(f"{instance['id']} is {wanted}", lambda: show(plane, instance)["status"] in wanted)
    return show(plane, instance)


def kill(plane, instance):
    plane.agent.die(instance["id"])
    plane.until("it is seen to be dead",
                lambda: show(plane, instance)["operating_status"] == "SHUTDOWN")


def metric(plane, name):
    connection = http.client.HTTPConnection(plane.address, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        for line in connection.getresponse().read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    raise AssertionError(name)


# ---- handover ----

def test_promote(plane):
    source, (heir, other) = group(plane, 2)
    assert "last_operation" not in show(plane, source)
    act(plane, heir, {"promote_to_replica_source": {}})
    plane.settle()
    new, old = show(plane, heir), show(plane, source)
    assert {r["id"] for r in new["replicas"]} == {source["id"], other["id"]}
    assert old["replica_of"]["id"] == show(plane, other)["replica_of"]["id"] == heir["id"]
    assert new["epoch"] == 2 and new["group"] == "s"
    last = new["last_operation"]
    assert last["operation"] == "handover" and last["done"] and last["reason"]
    assert "operation" not in new
    assert len(events(plane, "handover.done")) == 1
    assert metric(plane, 'tanist_operations_total{kind="handover",outcome="done"}') == 1
    assert metric(plane, 'tanist_operations{kind="handover"}') == 0


def test_what_runs_is_named_to_whoever_comes_in_between(plane):
    source, (heir, other, third) = group(plane, 3)
    plane.agent.stall(True)
    act(plane, heir, {"promote_to_replica_source": {}})
    path = "/v1.0/t1/instances/"
    for instance in (source, heir, other):
        assert show(plane, instance)["status"] == "PROMOTE"
    op = show(plane, other)["operation"]
    assert op["operation"] == "handover" and op["target"] == heir["id"]
    assert metric(plane, 'tanist_operations{kind="handover"}') == 1
    for instance, action in ((heir, {"promote_to_replica_source": {}}),
                             (other, {"promote_to_replica_source": {}}),
                             (source, {"durability": "bounded(1)"})):
        act(plane, instance, action, 422, "handover")
    act(plane, source, {"eject_replica_source": {}}, 400, "current heartbeat")
    status, answer = call(plane, "PATCH", path + other["id"], {"instance": {"replica_of": ""}})
    assert status == 422 and "handover" in json.dumps(answer)
    assert "handover" in replicas(plane, source, 422)
    for instance in (source, heir):
        status, answer = call(plane, "DELETE", path + instance["id"])
        assert status in (403, 422), answer
        assert instance is source or "handover" in json.dumps(answer)
    assert call(plane, "DELETE", path + third["id"])[0] == 202
    until_gone(plane, third)
    act(plane, other, {"cancel": {}})
    plane.agent.stall(False)
    plane.settle()
    assert show(plane, source)["last_operation"]["done"] is False
    assert {r["id"] for r in show(plane, source)["replicas"]} == {heir["id"], other["id"]}
    act(plane, other, {"cancel": {}}, 422)
    assert metric(plane, 'tanist_operations_total{kind="handover",outcome="not-done"}') == 1


def until_gone(plane, instance):
    plane.until("it is deleted",
                lambda: call(plane, "GET", f"/v1.0/t1/instances/{instance['id']}")[0] == 404)


# ---- eject ----

def test_eject_and_attach_again(plane):
    source, (one, two) = group(plane, 2)
    act(plane, source, {"eject_replica_source": {}}, 400, "current heartbeat")
    kill(plane, source)
    plane.agent.stall(True)
    act(plane, source, {"eject_replica_source": {}})
    act(plane, source, {"eject_replica_source": {}})  # the same once more
    assert show(plane, one)["status"] == "EJECT"
    plane.agent.stall(False)
    plane.settle()
    old = show(plane, source)
    assert old["status"] == "BLOCKED" and "replicas" not in old and "replica_of" not in old
    assert "attach" in old["fault"]["message"]
    assert old["group"] == "s-2", "a name of its own"
    leaders = [i for i in (one, two) if "replicas" in show(plane, i)]
    assert len(leaders) == 1
    new = show(plane, leaders[0])
    assert new["group"] == "s" and len(new["replicas"]) == 1 and new["last_operation"]["done"]
    assert len(events(plane, "source.changed")) == 1
    assert usage(plane) == 3

    follow = {"attach": {"replica_of": new["id"]}}
    act(plane, source, {"promote_to_replica_source": {}}, 422)
    act(plane, source, {"attach": {"replica_of": source["id"]}}, 400)
    act(plane, source, {"attach": {"replica_of": new["replicas"][0]["id"]}}, 403)
    act(plane, source, {"attach": {"replica_of": "00000000-0000-4000-8000-00000000dead"}}, 404)
    act(plane, source, follow, 422, "not heard to run")
    plane.agent.revive(source["id"])
    plane.until("its server runs", lambda: attached(plane, source, follow))
    plane.settle()
    back = show(plane, source)
    assert back["replica_of"]["id"] == new["id"] and back["group"] == "s" and "fault" not in back
    assert back["ip"] == old["ip"] and usage(plane) == 3
    act(plane, source, follow, 422)
    # the name that was its group's is free again, and so is no address that is in use
    assert create(plane, name="s-2")["group"] == "s-2"
    plane.settle()
    ips = [i["ip"][0] for i in plane.instances("t1")]
    assert len(ips) == len(set(ips)) == 4


def attached(plane, instance, follow):
    path = f"/v1.0/t1/instances/{instance['id']}/action"
    status, body = call(plane, "POST", path, follow)
    assert status in (202, 422), body
    return status == 202


def usage(plane):
    return len(plane.instances("t1"))


def test_a_source_nobody_hears_is_asked_by_the_control_plane(start):
    plane = start("agent.silent_after=1", pool="127.0.95.1-127.0.95.9")
    source, _ = group(plane, 1)
    address = show(plane, source)["ip"][0]
    plane.agent.stop()
    plane.until("its host is silent",
                lambda: show(plane, source)["operating_status"] == "ERROR")
    with socket.create_server((address, 6379)) as server:
        answers = threading.Thread(target=answer_once, args=(server,))
        answers.start()
        act(plane, source, {"eject_replica_source": {"accept_data_loss": True}}, 400, "answers at")
        answers.join()
        # connections are taken by the kernel, and nobody is there: as with a server that hangs
        act(plane, source, {"eject_replica_source": {}}, 422, "accept_data_loss")
    act(plane, source, {"eject_replica_source": {}}, 422, "accept_data_loss")
    act(plane, source, {"eject_replica_source": {"accept_data_loss": True}})


def answer_once(server):
    client, _ = server.accept()
    with client:
        assert client.recv(100) == b"PING\r\n"
        client.sendall(b"-NOAUTH Authentication required.\r\n")


def test_the_dry_run(plane):
    source, (one, two) = group(plane, 2)
    for instance in (source, one):
        status, body = call(plane, "GET", f"/v1.0/t1/instances/{instance['id']}/election")
        election = body["election"]
        assert status == 200 and election["verdict"] == "winner"
        assert election["winner"] in (one["id"], two["id"]) and election["reason"]
        assert {c["id"] for c in election["candidates"]} == {one["id"], two["id"]}
        for c in election["candidates"]:
            assert c["eligible"] is True and c["offset"] == 100 and c["text"] and c["why"]
    alone, _ = group(plane, 0, name="alone")
    body = call(plane, "GET", f"/v1.0/t1/instances/{alone['id']}/election")[1]
    assert body["election"]["winner"] is None and body["election"]["candidates"] == []
    assert show(plane, source)["epoch"] == 1, "nothing was changed"


# ---- detach ----

@pytest.mark.parametrize("method,change", [
    ("PUT", {"replica_of": ""}), ("PATCH", {"replica_of": None}), ("PATCH", {"slave_of": "x"}),
    ("PATCH", {"replica_of": {"any": 1}, "name": "loose"}),
])
def test_detach(plane, method, change):
    source, (one, two) = group(plane, 2)
    before = show(plane, one)
    path = f"/v1.0/t1/instances/{one['id']}"
    assert call(plane, method, path, {"instance": change})[0] == 202
    plane.settle()
    left = show(plane, one)
    name = change.get("name", before["name"])
    assert "replica_of" not in left and left["role"] == "source"
    assert (left["name"], left["group"], left["status"]) == (name, name, "ACTIVE")
    assert left["epoch"] == before["epoch"] + 1 and left["ip"] == before["ip"]
    assert [r["id"] for r in show(plane, source)["replicas"]] == [two["id"]]
    assert call(plane, method, path, {"instance": change})[0] == 400
    assert len(events(plane, "replica.detached")) == 1


def test_a_detached_group_has_a_name_of_its_own_whoever_comes_in_between(start):
    """Creates of the same name run beside the detaches: no two groups get one name."""
    plane = start("quota.instances=100", pool="127.0.94.1-127.0.94.100")
    plane.projects.add("t1")
    source, rest = group(plane, 8, name="s")
    for r in rest:
        change = {"instance": {"name": "same"}}
        assert call(plane, "PUT", f"/v1.0/t1/instances/{r['id']}", change)[0] == 202
    done = []

    def detach():
        for r in rest:
            done.append(call(plane, "PATCH", f"/v1.0/t1/instances/{r['id']}",
                             {"instance": {"replica_of": ""}})[0])

    def make():
        for _ in range(8):
            done.append(call(plane, "POST", "/v1.0/t1/instances", {"instance": {
                "name": "same", "flavorRef": "1", "volume": {"size": 1},
                "datastore": {"type": "redis"}}})[0])
    threads = [threading.Thread(target=f) for f in (detach, make)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(done) == [200] * 8 + [202] * 8
    plane.settle()
    names = [i["group"] for i in plane.instances("t1")]
    assert len(names) == len(set(names)) == 17
    assert sorted(names) == sorted(["s", "same"] + [f"same-{k}" for k in range(2, 17)])


# ---- durability ----

def test_durability(plane):
    source, (one,) = group(plane, 1)
    assert show(plane, source)["durability"] == "async"
    body = act(plane, one, {"durability": "bounded(1)"}, 200)["durability"]
    assert body["durability"] == "bounded(1)" and "WAIT" in body["promise"]
    for member in (one, source):
        status, shown = call(plane, "GET", f"/v1.0/t1/instances/{member['id']}/durability")
        assert (status, shown) == (200, {"durability": body})
    assert show(plane, one)["durability"] == show(plane, source)["durability"] == "bounded(1)"
    assert plane.agent.goals[source["id"]].get("min_slaves") == 1
    act(plane, source, {"durability": "bounded(2)"}, 400)
    status, answer = call(plane, "PATCH", f"/v1.0/t1/instances/{one['id']}",
                          {"instance": {"replica_of": ""}})
    assert status == 422 and "bounded(1)" in json.dumps(answer)
    assert act(plane, source, {"durability": "async"}, 200)["durability"]["durability"] == "async"
    assert show(plane, source)["durability"] == "async"


def test_durability_from_the_beginning(plane):
    source = create(plane, name="d", durability="bounded(2)")
    assert source["durability"] == "bounded(2)"
    plane.settle()
    assert plane.agent.goals[source["id"]].get("min_slaves") == 2
    assert "durability" in replicas(plane, source, 400, durability="async")
    assert "20" in create(plane, 400, name="x", durability="bounded(21)")
    assert "bounded(K)" in create(plane, 400, name="x", durability="always")


# ---- a whole group ----

def test_delete_a_group(plane):
    source, _ = group(plane, 2)
    other, _ = group(plane, 0, name="other")
    act(plane, source, {"delete_group": None}, 400)
    act(plane, source, {"delete_group": {}})
    until_gone(plane, source)
    plane.until("all of it is gone", lambda: len(plane.instances("t1")) == 1)
    assert show(plane, other)["status"] == "ACTIVE"
    assert re.match("a client deleted", events(plane, "instance.deleting")[0]["reason"])


def test_who_may(plane):
    source, (one,) = group(plane, 1)
    for action in ({"promote_to_replica_source": {}}, {"eject_replica_source": {}}, {"cancel": {}},
                   {"attach": {"replica_of": source["id"]}}, {"durability": "async"},
                   {"delete_group": {}}):
        path = f"/v1.0/t2/instances/{one['id']}/action"
        assert call(plane, "POST", path, action, token="t2")[0] == 404
    assert call(plane, "GET", f"/v1.0/t2/instances/{one['id']}/election", token="t2")[0] == 404
