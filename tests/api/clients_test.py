"""Debian's own clients, unmodified, do their work: list, create, create replicas, show, delete,
promote, eject, detach."""
import json
import os
import signal
import subprocess

import pytest

from groups import Group
from harness import Dev, wait_until


@pytest.fixture(scope="module")
def dev():
    # A dead server is left alone: the test decides, not the restart.
    with Dev(settings=["agent.restart_delay=60000"]) as d:
        yield d


class Client:
    """One command line client and how it says things."""

    def __init__(self, dev, words, env):
        self.words, self.env = words, dict(os.environ, **env)

    def run(self, *words, check=True, limit=120):
        done = subprocess.run([*self.words, *words], env=self.env, capture_output=True, text=True,
                              timeout=limit, stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done


def openstack(dev):
    return Client(dev, ["/usr/bin/openstack", "--os-auth-type", "none", "--os-endpoint", dev.url], {})


def trove(dev):
    return Client(dev, ["/usr/bin/trove", "--os-username", "u", "--os-password", "p",
                        "--os-project-name", "dev", "--os-auth-url",
                        dev.url.rsplit("/v1.0/", 1)[0] + "/v1auth", "--bypass-url", dev.url,
                        "--json"], {})


def active(dev, name):
    return dev.wait_status(name, "ACTIVE")


def gone(dev, name):
    return wait_until(f"{name} is gone", lambda: dev.tanist("show", name, check=False).returncode)


def test_openstack_database(dev):
    client = openstack(dev)
    client.run("database", "instance", "create", "os-source", "--flavor", "1", "--size", "1",
               "--datastore", "redis", "--datastore-version",
               dev.api.get("/datastores/redis/versions")["versions"][0]["name"])
    source = active(dev, "os-source")
    client.run("database", "instance", "create", "os-replica", "--replica-of", "os-source",
               "--replica-count", "2")
    for name in ("os-replica-1", "os-replica-2"):
        replica = active(dev, name)
        assert replica["replica_of"]["id"] == source["id"]

    rows = json.loads(client.run("database", "instance", "list", "-f", "json").stdout)
    roles = {row["Name"]: row["Role"] for row in rows}
    assert roles == {"os-source": "primary", "os-replica-1": "replica", "os-replica-2": "replica"}
    shown = json.loads(client.run("database", "instance", "show", "os-source", "-f", "json").stdout)
    assert shown["status"] == "ACTIVE" and shown["operating_status"] == "HEALTHY"
    assert sorted(shown["replicas"].split(", ")) == sorted(
        r["id"] for r in dev.show("os-source")["replicas"])

    refused = client.run("database", "instance", "delete", "os-source", check=False)
    assert refused.returncode == 1 and "403" in refused.stdout + refused.stderr
    client.run("database", "instance", "delete", "os-replica-1", "os-replica-2")
    gone(dev, "os-replica-1"), gone(dev, "os-replica-2")
    client.run("database", "instance", "delete", "os-source")
    gone(dev, "os-source")


def test_openstack_catalogue(dev):
    client = openstack(dev)
    flavors = json.loads(client.run("database", "flavor", "list", "-f", "json").stdout)
    assert flavors[0]["Name"] == "redis.tiny"
    stores = json.loads(client.run("datastore", "list", "-f", "json").stdout)
    assert "redis" in [s["Name"] for s in stores]
    client.run("datastore", "show", "redis")
    client.run("datastore", "version", "list", "redis")
    client.run("database", "limit", "list")
    refused = client.run("database", "instance", "show", "nobody", check=False)
    assert refused.returncode == 1


def test_trove(dev):
    client = trove(dev)
    client.run("create", "tr-source", "1", "--size", "1", "--datastore", "redis")
    source = active(dev, "tr-source")
    # The legacy client always sends a flavor along; the specification promises this very line.
    client.run("create", "tr-replica", "1", "--size", "1", "--replica_of", "tr-source",
               "--replica_count", "2")
    for name in ("tr-replica-1", "tr-replica-2"):
        assert active(dev, name)["replica_of"]["id"] == source["id"]
    listed = json.loads(client.run("list").stdout)
    assert {"tr-source", "tr-replica-1", "tr-replica-2"} <= {i["name"] for i in listed}
    shown = json.loads(client.run("show", "tr-source").stdout)
    assert shown["status"] == "ACTIVE"
    client.run("flavor-list")
    client.run("datastore-list")
    for name in ("tr-replica-1", "tr-replica-2"):
        client.run("delete", name)
        gone(dev, name)
    client.run("delete", "tr-source")
    gone(dev, "tr-source")


# Changes of the source.

def openstack_words(action):
    return ["database", "instance", action]


def trove_words(action):
    return [{"promote": "promote-to-replica-source", "eject": "eject-replica-source",
             "detach": "detach-replica"}[action]]


TOOLS = {"openstack": (openstack, openstack_words), "trove": (trove, trove_words)}


@pytest.fixture(params=TOOLS)
def tool(request, dev):
    """tool("promote", name): a client's word for it."""
    make, words = TOOLS[request.param]
    client = make(dev)

    def run(action, name, **how):
        return client.run(*words(action), name, **how)
    run.name = request.param
    return run


@pytest.fixture()
def group(dev, tool, request):
    g = Group(dev, name=f"{tool.name}-{request.function.__name__.rpartition('_')[2]}")
    yield g
    dev.tanist("delete", g.members[-1]["id"], "--group", "--wait")


def test_a_client_may_promote(dev, tool, group):
    """All members say PROMOTE while it runs, as Trove's do, and ACTIVE in the end."""
    old, target = group.members[0], group.members[1]
    group.fill(100)
    copies = group.full_copies()
    tool("promote", target["name"])
    wait_until("it has ended", lambda: not dev.look(target).get("operation"))
    assert group.settle() is target
    assert group.has_all(target, 100) and group.full_copies() == copies
    assert dev.look(target)["last_operation"]["done"]
    assert {r["id"] for r in dev.look(target)["replicas"]} == {m["id"] for m in group.members} - {
        target["id"]}
    assert dev.look(old)["replica_of"]["id"] == target["id"]

    refused = tool("promote", target["name"], check=False)
    assert refused.returncode == 1
    assert f"Instance {target['id']} is not a replica. (HTTP 400)" in refused.stdout + refused.stderr


def test_a_client_may_eject(dev, tool, group):
    old = group.members[0]
    group.fill(100)
    refused = tool("eject", old["name"], check=False)
    assert refused.returncode == 1
    assert "cannot be ejected as it has a current heartbeat" in refused.stdout + refused.stderr
    refused = tool("eject", group.members[1]["name"], check=False)
    assert "is not a replica source" in refused.stdout + refused.stderr

    os.kill(dev.pid(old), signal.SIGKILL)
    wait_until("it is known to be gone", lambda: dev.look(old)["operating_status"] != "HEALTHY")
    tool("eject", old["name"])
    group.members.remove(old)
    group.settle()
    assert group.has_all(group.source(), 100)
    left = dev.look(old)
    assert left["status"] == "BLOCKED" and "replica_of" not in left and not left.get("replicas")
    dev.tanist("delete", old["id"], "--wait")


def test_a_client_may_detach(dev, tool, group):
    replica = group.members[2]
    group.fill(100)
    done = tool("detach", replica["name"], check=False)
    if tool.name == "trove":
        # Debian 12's crashes in itself, before it sends anything.
        assert done.returncode != 0 and "object has no attribute 'edit'" in done.stderr
        assert dev.look(replica)["replica_of"]["id"] == group.members[0]["id"]
        return
    assert done.returncode == 0, done.stderr
    wait_until("it is a source", lambda: dev.look(replica)["status"] == "ACTIVE"
               and dev.redis(replica).info("replication")["role"] == "master")
    shown = dev.look(replica)
    assert "replica_of" not in shown and shown["group_id"] != dev.look(group.members[0])["group_id"]
    assert dev.redis(replica).set("own", "1") and group.has_all(replica, 100)
    group.members.remove(replica)
    group.settle()
    dev.tanist("delete", replica["id"], "--wait")
