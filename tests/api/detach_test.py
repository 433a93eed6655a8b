"""Detach on real servers: a replica becomes the source of a group of its own, with nothing of
replication left, and its old group goes on (DESIGN.md 5). Besides: a group is deleted whole.
"""
import os

import pytest
import redis

from groups import Group, kinds, port
from harness import Dev, attempt, wait_until
from writers import Writers, discover


@pytest.fixture()
def dev():
    with Dev(discovery=True) as d:
        yield d


def put(d, instance, body, method="PUT"):
    status, answer = d.api.call(method, f"/instances/{instance['id']}", {"instance": body})
    return status, list(answer.values())[0].get("message", "") if answer else ""


def detach(d, instance, limit=20, **how):
    """To its end: ACTIVE in a group of its own."""
    status, message = put(d, instance, how.pop("body", {"replica_of": ""}), **how)
    assert status == 202, (status, message)
    return wait_until("it is detached", lambda: (lambda i: i if i["status"] == "ACTIVE" and not
                      i.get("replica_of") and not i.get("operation") else None)(d.look(instance)),
                      limit)


def conf(d, instance):
    with open(os.path.join(d.folder(instance), "redis.conf")) as f:
        return f.read().splitlines()


def values(d, instance, *names):
    client = d.agent_redis(instance)
    return {n: client.config_get(n)[n] for n in names}


def test_it_is_a_source_like_any_other(dev):
    """Settings, in memory and in the file, are those of an instance that never was a replica."""
    g = Group(dev)
    g.fill(100)
    plain = dev.create("plain")
    out = g.members.pop(1)
    run = dev.info(out)["run_id"]
    shown = detach(dev, out)
    assert shown["role"] == "source" and not shown.get("replicas")

    info = g.replication(out)
    assert (info["role"], info["connected_slaves"]) == ("master", 0)
    assert dev.redis(out).set("own", "write")
    assert g.has_all(out, 100)
    assert dev.info(out)["run_id"] == run, "it was restarted"

    mine, theirs = (dev.agent_redis(i).config_get("*") for i in (out, plain))
    differ = {k for k in mine if mine[k] != theirs.get(k)}
    # What names the instance itself; its passwords are those of its own group.
    own = {"bind", "dir", "pidfile", "logfile", "unixsocket", "slave-announce-ip",
           "replica-announce-ip", "masterauth", "proc-title-template", "slave-announce-port",
           "replica-announce-port", "port", "aclfile"}
    assert differ <= own, {k: (mine[k], theirs.get(k)) for k in differ - own}
    assert mine["slaveof"] == ""

    def file_of(i):
        """Words that begin its lines, a group of one starts with no upstream at all."""
        return {line.split()[0] for line in conf(dev, i) if line.strip()}
    wait_until("its file is what a restart needs", lambda: file_of(out) == file_of(plain))
    assert not [line for line in conf(dev, out) if line.startswith("slaveof ")]

    # Started again it is what it was, with what it wrote.
    dev.kill_server(out)
    wait_until("it is back", lambda: attempt(lambda: dev.redis(out).get("own")) == "write")
    assert g.replication(out)["role"] == "master"


def test_the_old_group_goes_on(dev):
    g = Group(dev)
    copies = g.full_copies()
    out = g.members[1]
    with Writers(dev, g.name, count=2) as w:
        detach(dev, out)
        w.goes_on()
        assert "replica.detached" in kinds(dev)
    g.members.remove(out)
    source = g.settle()
    w.verify(source, g.replicas())
    assert set(w.refusals()) == set() and w.threads[0].unknown == 0, "writers were disturbed"
    del copies[out["name"]]
    assert g.full_copies() == copies
    assert [r["id"] for r in dev.look(source)["replicas"]] == [m["id"] for m in g.replicas()]
    # Neither hears of the other any more.
    dev.redis(source).set("old", "1")
    dev.redis(out).set("new", "2")
    g.wait_copied()
    assert not dev.redis(out).exists("old")
    assert not any(dev.redis(m).exists("new") for m in g.members)
    assert g.replication(source)["connected_slaves"] == 1


def test_names_and_discovery(dev):
    """Its group has a name of its own; both names lead where they should, at once."""
    g = Group(dev)
    out = g.members.pop(2)
    shown = detach(dev, out)
    assert shown["group"] != g.name and shown["group_id"] != dev.look(g.members[0])["group_id"]
    for name in (shown["group"], shown["group_id"], out["id"]):
        assert discover(dev.discovery_port, name) == (out["ip"][0], port(out))
    source = g.members[0]
    assert discover(dev.discovery_port, g.name) == (source["ip"][0], port(source))
    # The old group is still as able: what is left of it changes its source.
    dev.promote(g.members[1])
    assert discover(dev.discovery_port, g.name) == (g.members[1]["ip"][0], port(g.members[1]))
    # And the new one has replicas of its own.
    copy = dev.replicas(out["id"], 1, "copy")[0]
    assert copy["replica_of"]["id"] == out["id"]
    dev.redis(out).set("k", "v")
    wait_until("they follow it", lambda: attempt(lambda: dev.redis(copy).get("k")) == "v")
    dev.promote(copy)
    assert dev.redis(copy).set("k", "v2")


@pytest.mark.parametrize("method, body", [
    ("PUT", {"replica_of": ""}), ("PUT", {"slave_of": ""}), ("PATCH", {"replica_of": None}),
    ("PATCH", {"slave_of": "anything"}), ("PUT", {"replica_of": None, "name": "renamed"})],
    ids=str)
def test_every_way_to_ask(dev, method, body):
    g = Group(dev, replicas=1)
    shown = detach(dev, g.members[1], method=method, body=body)
    assert shown["name"] == body.get("name", g.members[1]["name"])
    assert dev.redis(g.members[1]).set("x", "y")


def test_detach_all_at_once(dev):
    """Each gets a group, and the source is alone in the old one."""
    g = Group(dev, replicas=3)
    g.fill(50)

    def asked(m):
        """One change of a group at a time: who comes too early asks again."""
        status, message = put(dev, m, {"replica_of": ""})
        assert status in (202, 422), (status, message)
        return status == 202
    for m in g.members[1:]:
        wait_until("it is accepted", lambda m=m: asked(m), 20)
    for m in g.members[1:]:
        wait_until("it is a source", lambda m=m: attempt(lambda: dev.redis(m).set("own", m["id"])))
        dev.wait_status(m["id"], "ACTIVE")
    assert len({dev.look(m)["group_id"] for m in g.members}) == 4
    assert len({dev.look(m)["group"] for m in g.members}) == 4
    assert all(g.has_all(m, 50) for m in g.members)
    assert [dev.redis(m).get("own") for m in g.members] == [None] + [
        m["id"] for m in g.members[1:]]
    wait_until("the source has no replicas", lambda: g.replication(g.members[0])[
        "connected_slaves"] == 0)


def test_refused(dev):
    g = Group(dev, replicas=1)
    alone = dev.create("alone")
    for instance in (g.members[0], alone):
        status, message = put(dev, instance, {"replica_of": ""})
        assert status == 400 and "not a replica" in message, (status, message)
    # One that never had the data of its source.
    g.fill(300)
    dev.agent_redis(g.members[0]).config_set("rdb-key-save-delay", 20_000)
    dev.tanist("create", "late", "--replica-of", g.name)
    late = dev.show("late")
    status, message = put(dev, late, {"replica_of": ""})
    assert status == 422, (status, message)
    shown = dev.wait_status("late", "ACTIVE")
    assert shown["replica_of"]["id"] == g.members[0]["id"]
    assert dev.redis(shown).dbsize() == 300
    with pytest.raises(redis.exceptions.ReadOnlyError):
        dev.redis(shown).set("stray", "write")
    assert "replica.detached" not in kinds(dev)


def test_a_detach_survives_whatever_dies(dev):
    g = Group(dev)
    g.fill(100)
    out = g.members.pop(1)
    status, message = put(dev, out, {"replica_of": ""})
    assert status == 202, message
    dev.kill_server(out)
    dev.kill()
    dev.start()
    wait_until("it is a source of its own", lambda: attempt(
        lambda: dev.redis(out).set("own", "write")), 40)
    assert g.has_all(out, 100)
    assert g.settle(40) is g.members[0]
    assert not dev.redis(g.members[0]).exists("own")


def test_a_group_is_deleted_whole(dev):
    g = Group(dev, replicas=2)
    witness = dev.create("witness")
    # The source alone cannot go.
    status, _ = dev.api.call("DELETE", f"/instances/{g.members[0]['id']}")
    assert status == 403
    folders = [dev.folder(m) for m in g.members]
    dev.tanist("delete", g.members[1]["id"], "--group", "--wait")
    wait_until("all of them are gone", lambda: [i["id"] for i in dev.instances()] == [
        witness["id"]])
    assert not any(map(os.path.exists, folders))
    assert dev.server_pids() == [dev.pid(witness)]
    assert discover(dev.discovery_port, g.name) is None
    # The name is free again.
    assert Group(dev, replicas=1).settle()["name"] == g.name
