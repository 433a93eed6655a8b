"""What a person does on one machine: create, replicate, stop, start again, kill."""
import json
import os
import re
import socket
import subprocess

import pytest

from harness import TANIST, Dev, attempt, wait_until


@pytest.fixture(scope="module")
def dev():
    with Dev() as d:
        yield d


def test_replicas_are_read_only_copies_that_follow(dev):
    source = dev.create("src")
    with dev.redis(source) as master:
        master.set("before", "1")
        one, two = dev.replicas("src", 2, "rep")
        master.set("after", "2")
        assert master.wait(2, 5000) == 2
    for replica in (one, two):
        server = dev.redis(replica)
        assert server.get("before") == "1" and server.get("after") == "2"
        info = server.info("replication")
        assert info["role"] == "slave" and info["slave_read_only"] == 1
        assert info["master_host"] == source["ip"][0]
        with pytest.raises(Exception, match="READONLY|read only"):
            server.set("x", "y")
        assert replica["replica_of"]["id"] == source["id"]
    assert {r["id"] for r in dev.show("src")["replicas"]} == {one["id"], two["id"]}


def test_adding_replicas_never_restarts_the_source_and_drops_no_client(dev):
    source = dev.create("steady")
    client = dev.redis(source, single_connection_client=True)
    client.set("k", "v")
    run, mine = client.info("server")["run_id"], client.client_id()
    dev.replicas("steady", 3, "steadies")
    assert client.client_id() == mine, "the connection was dropped"
    assert client.info("server")["run_id"] == run, "the source was restarted"


def test_configuration_is_persisted_on_each_replica(dev):
    source = dev.create("persist")
    replica = dev.replicas("persist", 1, "persisted")[0]
    path = os.path.join(dev.folder(replica), "redis.conf")
    text = open(path).read()
    assert re.search(rf'^slaveof "?{source["ip"][0]}"? 6379$', text, re.M)
    assert "slave-read-only yes" in text and "appendonly yes" in text
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_secrets_stay_out_of_logs_and_command_lines(dev):
    source = dev.create("quiet")
    replica = dev.replicas("quiet", 1, "quieter")[0]
    conf = open(os.path.join(dev.folder(replica), "redis.conf")).read()
    secrets = [line.split()[1].strip('"') for line in conf.splitlines()
               if line.startswith("masterauth")]
    assert secrets and len(secrets[0]) >= 32
    for name in ("tanistd.log", "agent.log"):
        assert secrets[0] not in open(os.path.join(dev.dir, name), errors="replace").read()
    for instance in (source, replica):
        cmdline = open(f"/proc/{dev.pid(instance)}/cmdline", errors="replace").read()
        assert secrets[0] not in cmdline
    assert secrets[0] not in json.dumps(dev.events())
    assert secrets[0] not in json.dumps(dev.instances())


def test_a_replica_of_a_replica_is_refused(dev):
    dev.create("chain")
    dev.replicas("chain", 1, "link")
    done = dev.tanist("create", "link-2", "--replica-of", "link", check=False)
    assert done.returncode == 1 and "replica" in done.stderr
    status, body = dev.api.call("POST", "/instances", {"instance": {
        "name": "x", "replica_of": dev.show("link")["id"]}})
    assert status == 403 and "forbidden" in body


def test_a_killed_replica_comes_back_in_its_role(dev):
    source = dev.create("solid")
    replica = dev.replicas("solid", 1, "victim")[0]
    dev.redis(source).set("k", "v1")
    old = dev.kill_server(replica)
    dev.redis(source).set("k", "v2")

    def back():
        info = attempt(lambda: dev.redis(replica).info())
        return info and info["process_id"] != old and info["role"] == "slave" and \
            info["master_link_status"] == "up"

    wait_until("the replica is back", back)
    wait_until("it has what it missed", lambda: dev.redis(replica).get("k") == "v2")
    assert dev.show("victim")["status"] == "ACTIVE"


def test_a_killed_source_comes_back_as_source_with_every_key(dev):
    source = dev.create("phoenix")
    replica = dev.replicas("phoenix", 1, "nest")[0]
    master = dev.redis(source)
    for i in range(500):
        master.set(f"k{i}", str(i))
    dev.kill_server(source)
    wait_until("the source is master again", lambda: attempt(
        lambda: dev.redis(source).info("replication")["role"] == "master"))
    assert dev.redis(source).dbsize() == 500
    wait_until("the replica follows with every key", lambda: attempt(
        lambda: dev.redis(replica).info("replication")["master_link_status"] == "up"
        and dev.redis(replica).dbsize() == 500))
    kinds = [e["event"] for e in dev.events() if e.get("group_name") == "phoenix"]
    assert kinds.count("source.confirmed") == 1


def test_after_a_stop_everything_is_as_it_was():
    with Dev() as d:
        source = d.create("keep")
        replica = d.replicas("keep", 1, "keeper")[0]
        d.redis(source).set("k", "v")
        assert d.stop() == 0
        assert d.server_pids() == [], "servers run on after a clean stop"
        d.start()
        wait_until("the source serves", lambda: attempt(lambda: d.redis(source).set("k2", "v2")))
        wait_until("the replica has both", lambda: attempt(
            lambda: d.redis(replica).get("k") == "v" and d.redis(replica).get("k2") == "v2"))
        for name in ("keep", "keeper"):
            d.wait_status(name, "ACTIVE")
        assert [i["id"] for i in d.instances()] == [source["id"], replica["id"]]


@pytest.mark.parametrize("how", ["kill -9", "--keep-servers"])
def test_servers_outlive_tanist_and_are_adopted(how):
    with Dev(start=False) as d:
        d.start(*([how] if how.startswith("--") else []))
        source = d.create("alive")
        replica = d.replicas("alive", 1, "along")[0]
        client = d.redis(source, single_connection_client=True)
        mine, run = client.client_id(), client.info("server")["run_id"]
        replica_run = d.info(replica)["run_id"]
        if how == "kill -9":
            d.kill()
        else:
            assert d.stop() == 0
        client.set("while", "away")
        d.start()
        wait_until("both are known again", lambda: all(
            i["status"] == "ACTIVE" and i["operating_status"] == "HEALTHY" for i in d.instances()))
        assert client.client_id() == mine, "the client was dropped"
        assert client.info("server")["run_id"] == run and client.get("while") == "away"
        assert d.info(replica)["run_id"] == replica_run


def test_a_second_dev_on_the_same_folder_names_the_holder(dev):
    done = subprocess.run([TANIST, "dev", "--dir", dev.dir], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 1
    assert str(dev.process.pid) in done.stderr and "in use" in done.stderr


def test_an_address_that_is_taken_puts_that_instance_alone_in_error():
    """A listener on the port of every address, as a redis-server of the machine's own would be."""
    with Dev(start=False) as d, socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen(1)
        port = holder.getsockname()[1]
        d.settings.append(f"agent.ports={port}-{port + 1}")
        d.start()
        d.tanist("create", "clash", "1", "--size", "1")
        broken = d.wait_status("clash", "ERROR")
        assert str(port) in broken["fault"]["message"] and "in use" in broken["fault"]["message"]
        done = d.tanist("create", "clash2", "1", "--size", "1", "--wait", check=False)
        if done.returncode == 0:  # the pool's next port is free: others are not held up
            assert d.show("clash2")["status"] == "ACTIVE"
        d.tanist("delete", "clash", "--wait")
        assert "clash" not in [i["name"] for i in d.instances()]


def test_delete_in_build(dev):
    dev.create("busy")
    dev.tanist("create", "early", "--replica-of", "busy")
    dev.tanist("delete", "early", "--wait")
    assert "early" not in [i["name"] for i in dev.instances()]
    assert dev.show("busy")["status"] == "ACTIVE"


def test_deleted_files_and_processes_are_gone(dev):
    gone = dev.create("brief")
    pid, folder = dev.pid(gone), dev.folder(gone)
    dev.tanist("delete", "brief", "--wait")
    assert not os.path.exists(folder)
    assert not os.path.exists(f"/proc/{pid}")


def test_a_source_without_room_for_its_data_gets_no_replica():
    """Both figures are in the message: what it needs, what is free."""
    with Dev(settings=["agent.disk_reserve_bytes=9000000000000000"]) as d:
        d.create("full")
        done = d.tanist("create", "more", "--replica-of", "full", check=False)
        assert done.returncode == 1
        assert "bytes" in done.stderr and sum(w.isdigit() for w in done.stderr.split()) >= 1, \
            done.stderr
        assert [i["name"] for i in d.instances()] == ["full"]


def test_a_deep_folder_does_not_make_socket_paths_long(tmp_path):
    deep = tmp_path.joinpath(*[f"deep-folder-name-number-{i}" for i in range(8)])
    with Dev(folder=str(deep)) as d:
        d.create("deep")
