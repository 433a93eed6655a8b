"""Debian's own clients, unmodified, do their work: list, create, create replicas, show, delete."""
import json
import os
import subprocess

import pytest

from harness import Dev, wait_until


@pytest.fixture(scope="module")
def dev():
    with Dev() as d:
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
