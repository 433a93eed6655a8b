"""The store is older than the hosts, empty, full, or held by another: nothing is guessed, nothing
that runs is stopped, and the reason is said (DESIGN.md 4, 7).

Damaged and newer stores are in bad_input_test.py.
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from disks import fill_up, small_disk
from harness import BUILD, Api, Dev, attempt, durable_goal, free_port, wait_until

KEYS = 100


@pytest.fixture()
def dev():
    with Dev() as d:
        yield d


def group(d, replicas=1):
    source = d.create("src")
    copies = d.replicas("src", replicas, "rep")
    with d.redis(source).pipeline(transaction=False) as p:
        for i in range(KEYS):
            p.set(f"k{i}", str(i))
        p.execute()
    for copy in copies:
        wait_until("the replica has every key", lambda: d.redis(copy).dbsize() == KEYS)
    return source, *copies


def store_files(d):
    return glob.glob(os.path.join(d.dir, "tanistd", "tanist.db*"))


def copy_store(d, folder):
    """Of a stopped tanistd: what a backup of its folder holds."""
    for path in store_files(d):
        shutil.copy2(path, folder)


def put_back(d, folder):
    for path in store_files(d):
        os.unlink(path)
    for path in glob.glob(os.path.join(folder, "tanist.db*")):
        shutil.copy2(path, os.path.join(d.dir, "tanistd"))


def epoch(d, name="src"):
    return d.show(name)["epoch"]


def restart_source(d, source):
    """The source is killed, compared and confirmed: the hosts are an epoch further."""
    before = epoch(d)
    d.kill_server(source)
    wait_until("the source is master again in a new epoch", lambda: epoch(d) > before and attempt(
        lambda: d.redis(source).info("replication")["role"] == "master"))
    d.wait_status("src", "ACTIVE")


def follows(d, replica, keys=KEYS):
    return attempt(lambda: d.redis(replica).info("replication")["master_link_status"] == "up"
                   and d.redis(replica).dbsize() == keys)


def runs(d, *instances):
    return [d.info(i)["run_id"] for i in instances]


def log(d, program):
    with open(os.path.join(d.dir, program + ".log"), errors="replace") as f:
        return f.read()


def older_store(d, folder):
    """A group at epoch 1 is copied; the hosts go on to epoch 2; the copy is put back."""
    instances = group(d)
    source, replica = instances
    d.kill()
    copy_store(d, folder)
    d.start()
    wait_until("both are known again", lambda: all(
        i["operating_status"] == "HEALTHY" for i in d.instances()))
    restart_source(d, source)
    assert epoch(d) == 2
    wait_until("the replica follows", lambda: follows(d, replica))
    seen = runs(d, *instances)
    d.kill()
    put_back(d, folder)
    d.start()
    for name in ("src", "rep"):
        text = d.wait_status(name, "ERROR")["fault"]["message"]
        assert "store is older than the hosts" in text and f"tanist adopt {name}" in text, text
    return instances, seen


def test_a_store_older_than_its_hosts_changes_nothing_until_it_is_told(dev, tmp_path):
    (source, replica), seen = older_store(dev, str(tmp_path))
    client = dev.redis(source, single_connection_client=True)
    mine = client.client_id()
    kinds = [e["event"] for e in dev.events()]
    assert "store.older" in kinds
    # The data go on: writes to the source reach the replica, for longer than any beat.
    end, n = time.monotonic() + 3, 0
    while time.monotonic() < end:
        n += 1
        client.set("after", str(n))
        assert client.wait(1, 5000) == 1
        time.sleep(0.1)
    assert runs(dev, source, replica) == seen and epoch(dev) == 1
    assert [i["status"] for i in dev.instances()] == ["ERROR", "ERROR"]
    done = dev.tanist("create", "more", "--replica-of", "src", check=False)
    assert done.returncode == 1 and "ERROR" in done.stderr

    dev.tanist("adopt", "rep")
    for name in ("src", "rep"):
        wait_until(f"{name} is served again", lambda: (
            lambda i: i["status"] == "ACTIVE" and i["operating_status"] == "HEALTHY"
            and "fault" not in i)(dev.show(name)))
    assert epoch(dev) == 3
    assert runs(dev, source, replica) == seen and client.client_id() == mine
    assert client.get("after") == str(n)
    assert "store.adopted" in [e["event"] for e in dev.events()]

    # It is looked after again: a restart is compared and confirmed, a replica is added.
    restart_source(dev, source)
    assert epoch(dev) == 4
    wait_until("the replica follows", lambda: follows(dev, replica, KEYS + 1))
    more = dev.replicas("src", 1, "more")[0]
    assert dev.redis(more).dbsize() == KEYS + 1
    dev.tanist("delete", "more", "--wait")
    dev.tanist("delete", "rep", "--wait")
    dev.tanist("delete", "src", "--wait")
    assert dev.instances() == []


def test_a_source_that_restarts_under_an_older_store_is_not_guessed_about(dev, tmp_path):
    """It waits, read-only, with all its keys; its replica keeps them; adopting lets it go on."""
    (source, replica), _ = older_store(dev, str(tmp_path))
    old = dev.kill_server(source)
    wait_until("it runs again, guarded", lambda: attempt(
        lambda: dev.pid(source) != old and dev.redis(source).dbsize() == KEYS))
    with pytest.raises(Exception, match="READONLY|read only"):
        dev.redis(source).set("x", "y")
    assert dev.redis(replica).dbsize() == KEYS
    assert [i["status"] for i in dev.instances()] == ["ERROR", "ERROR"]
    dev.tanist("adopt", "src")
    dev.wait_status("src", "ACTIVE")
    wait_until("the source is master with every key", lambda: attempt(
        lambda: dev.redis(source).info("replication")["role"] == "master"
        and dev.redis(source).dbsize() == KEYS))
    wait_until("the replica follows", lambda: follows(dev, replica))
    dev.wait_status("rep", "ACTIVE")


def test_a_store_older_by_changes_alone_is_told_too(dev, tmp_path):
    """No source changed since the copy, but the hosts have seen goals that the copy is behind of:
    they would refuse its orders, so that must not stay silent."""
    source, replica = group(dev)
    dev.kill()
    copy_store(dev, str(tmp_path))
    dev.start()
    for i in range(20):
        dev.tanist("rename", source["id"], f"name-{i}")
    name = dev.show(source["id"])["name"]
    wait_until("the agent has the newest goal", lambda: durable_goal(
        dev.folder(source))["name"] == name)
    seen = runs(dev, source, replica)
    dev.kill()
    put_back(dev, str(tmp_path))
    dev.start()
    assert "older than the hosts" in dev.wait_status("src", "ERROR")["fault"]["message"]
    # A delete in this state is not carried out behind anybody's back, and not lost either.
    dev.tanist("delete", "rep")
    time.sleep(1)
    assert runs(dev, source, replica) == seen
    dev.tanist("adopt", "src")
    wait_until("the deleted one is gone", lambda: len(dev.instances()) == 1)
    assert not os.path.exists(dev.folder(replica))
    dev.wait_status("src", "ACTIVE")
    assert runs(dev, source) == seen[:1]


def test_adopting_is_refused_where_there_is_nothing_to_adopt(dev):
    dev.create("fine")
    done = dev.tanist("adopt", "fine", check=False)
    assert done.returncode == 1 and "nothing to adopt" in done.stderr, done.stderr
    assert epoch(dev, "fine") == 1
    path = f"/instances/{dev.show('fine')['id']}/action"
    assert dev.api.call("POST", path, {"adopt": {}})[0] == 422
    assert dev.api.call("POST", path, {"adopt": None})[0] == 400
    other = path.replace(dev.show("fine")["id"], "00000000-0000-4000-8000-00000000dead")
    assert dev.api.call("POST", other, {"adopt": {}})[0] == 404


def test_adopting_waits_for_the_hosts_to_be_heard(dev, tmp_path):
    """Behind a start of tanistd nobody knows what the hosts know."""
    older_store(dev, str(tmp_path))
    dev.kill()
    plane = Plane(os.path.join(dev.dir, "tanistd"))
    try:
        status, body = plane.action(plane.named("src"), {"adopt": {}})
        assert status == 422 and "not heard" in json.dumps(body), body
    finally:
        plane.stop()


class Plane:
    """A tanistd alone, without an agent of ours."""

    def __init__(self, folder, *more):
        read, write = os.pipe()
        os.makedirs(folder, exist_ok=True)
        self.log_path = folder + ".plane.log"
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tanistd"), "--dir", folder, "--listen", "127.0.0.1:0",
             "--ready-fd", str(write), *more], pass_fds=[write], stdin=subprocess.DEVNULL,
            stderr=self.log)
        os.close(write)
        with os.fdopen(read) as f:
            line = f.readline()
        assert line.startswith("ready "), self.words()
        self.url = line.split()[1].rstrip("/")
        self.api = Api(self.url + "/v1.0/dev")

    def words(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def named(self, name):
        return [i["id"] for i in self.api.get("/instances")["instances"] if i["name"] == name][0]

    def action(self, instance, body):
        return self.api.call("POST", f"/instances/{instance}/action", body)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        self.log.close()


class Agent:
    """A tanist-agent alone, on a folder."""

    def __init__(self, folder, url, token_file, *settings):
        self.log_path = folder + ".agent.log"
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "tanist-agent"), "--dir", folder, "--server", url, "--token-file",
             token_file, *(w for s in settings for w in ("--set", s))],
            stdin=subprocess.DEVNULL, stderr=self.log)

    def words(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.log.close()
        return code


def test_an_empty_store_behind_the_same_agent_stops_nothing(dev):
    """The agent belongs to an installation that this control plane is not."""
    source, replica = group(dev)
    seen = runs(dev, source, replica)
    dev.kill()
    for path in store_files(dev):
        os.unlink(path)
    plane = Plane(os.path.join(dev.dir, "tanistd"))
    token = os.path.join(dev.dir, "tanistd", "agent.token")
    agent = Agent(os.path.join(dev.dir, "agent"), plane.url, token,
                  f"agent.addresses={dev.range}")
    try:
        wait_until("the agent says why it is not heard",
                   lambda: "belongs to installation" in agent.words(), 20)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            dev.redis(source).set("still", "written")
            assert plane.api.get("/instances")["instances"] == []
            time.sleep(0.2)
        assert runs(dev, source, replica) == seen
        assert dev.redis(replica).dbsize() == KEYS + 1
        status, body = plane.api.call("POST", "/instances", {"instance": {
            "name": "new", "flavorRef": "1", "volume": {"size": 1}}})
        assert 400 <= status < 500, (status, body)  # no host: nowhere to put it
    finally:
        assert agent.stop() == 0
        plane.stop()
    assert runs(dev, source, replica) == seen


def test_dev_over_an_empty_store_says_what_is_wrong_and_stops_nothing(dev):
    source, replica = group(dev)
    seen = runs(dev, source, replica)
    dev.kill()
    for path in store_files(dev):
        os.unlink(path)
    with pytest.raises(AssertionError, match="belongs to installation"):
        dev.start(limit=90)
    dev.process.wait(30)
    dev.process.stdout.close()
    dev.process = None
    assert runs(dev, source, replica) == seen


def test_instances_the_store_does_not_know_are_orphans_and_run_on(dev, tmp_path):
    """A copy from before an instance was created: it is told of, by an event, and left alone."""
    dev.create("src")
    dev.kill()
    copy_store(dev, str(tmp_path))
    dev.start()
    later = dev.create("later")
    dev.redis(later).set("k", "v")
    seen = runs(dev, later)
    dev.kill()
    put_back(dev, str(tmp_path))
    dev.start()
    orphan = wait_until("the orphan is told of", lambda: [
        e for e in dev.events() if e["event"] == "orphan.found"])[0]
    assert later["id"] in json.dumps(orphan)
    assert [i["name"] for i in dev.instances()] == ["src"]
    time.sleep(2)
    assert runs(dev, later) == seen and dev.redis(later).get("k") == "v"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_under_the_store_refuses_changes_and_stops_nothing(tmp_path):
    folder = str(tmp_path / "state")
    with small_disk(os.path.join(folder, "tanistd"), 32), Dev(folder=folder) as d:
        source, replica = group(d)
        seen, before = runs(d, source, replica), d.instances()
        filler = os.path.join(folder, "tanistd", "filler")

        def refused():
            fill_up(filler)
            status, body = d.api.call("POST", "/instances", {"instance": {
                "name": "toomuch", "flavorRef": "1", "volume": {"size": 1}}})
            assert status in (200, 503), (status, body)
            return status == 503 and body

        body = wait_until("a change is refused", refused)
        assert list(body) == ["serviceUnavailable"], body
        assert body["serviceUnavailable"]["message"].strip()
        # Room that the store had left over may have taken some; what was refused is not there.
        names = {i["name"] for i in d.instances()}
        assert names <= {"src", "rep", "toomuch"}
        count = len(d.instances())
        for method, instance, what in (("PUT", source, {"instance": {"name": "y"}}),
                                       ("DELETE", replica, None)):
            fill_up(filler)
            status, body = d.api.call(method, f"/instances/{instance['id']}", what)
            assert status == 503, (method, status, body)
        assert len(d.instances()) == count
        assert d.show("src")["name"] == "src" and d.show("rep")["status"] == "ACTIVE"
        assert runs(d, source, replica) == seen
        d.redis(source).set("still", "written")
        wait_until("it is replicated", lambda: d.redis(replica).get("still") == "written")
        os.unlink(filler)
        wait_until("changes are taken again", lambda: d.api.call(
            "PUT", f"/instances/{source['id']}", {"instance": {"name": "renamed"}})[0] == 202)
        d.create("room")
        for instance in before:
            assert d.show(instance["id"])["status"] == "ACTIVE"
        assert runs(d, source, replica) == seen


@pytest.mark.parametrize("program", ["tanistd", "tanist-agent"])
def test_a_second_one_on_the_same_folder_names_the_holder(dev, program):
    source = dev.create("src")
    seen = runs(dev, source)
    folder = os.path.join(dev.dir, "tanistd" if program == "tanistd" else "agent")
    with open(os.path.join(folder, "lock")) as f:
        holder = re.search(r"\d+", f.read()).group()
    words = [os.path.join(BUILD, program), "--dir", folder]
    words += ["--listen", f"127.0.0.1:{free_port()}"] if program == "tanistd" else \
        ["--server", "http://" + dev.api.host, "--token-file",
         os.path.join(dev.dir, "tanistd", "agent.token")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert holder in done.stderr and "in use" in done.stderr, done.stderr
    assert runs(dev, source) == seen
    assert dev.show("src")["status"] == "ACTIVE"


def test_an_agent_with_a_wrong_token_says_so_and_stops_nothing(dev):
    source, replica = group(dev)
    seen = runs(dev, source, replica)
    dev.kill()
    plane = Plane(os.path.join(dev.dir, "tanistd"))
    wrong = os.path.join(dev.dir, "wrong.token")
    with open(wrong, "w") as f:
        f.write("not-the-token\n")
    agent = Agent(os.path.join(dev.dir, "agent"), plane.url, wrong, f"agent.addresses={dev.range}")
    try:
        wait_until("it says so", lambda: "status=401" in agent.words())
        line = [x for x in agent.words().splitlines() if "status=401" in x][0]
        assert "token" in line.lower(), line
        assert "not-the-token" not in agent.words() + plane.words()
        end = time.monotonic() + 2
        while time.monotonic() < end:
            dev.redis(source).set("still", "written")
            time.sleep(0.1)
        assert runs(dev, source, replica) == seen
        # The right token, put into the same file, is found without a restart.
        shutil.copy(os.path.join(dev.dir, "tanistd", "agent.token"), wrong)
        wait_until("both are known again", lambda: all(
            i["status"] == "ACTIVE" and i["operating_status"] == "HEALTHY"
            for i in plane.api.get("/instances/detail")["instances"]))
        assert runs(dev, source, replica) == seen
    finally:
        assert agent.stop() == 0
        plane.stop()


def test_right_after_its_start_tanistd_calls_nothing_an_error(dev):
    dev.create("src")
    dev.kill()
    plane = Plane(os.path.join(dev.dir, "tanistd"), "--set", "agent.silent_after=2")
    try:
        shown = plane.api.get(f"/instances/{plane.named('src')}")["instance"]
        assert (shown["status"], shown["operating_status"]) == ("ACTIVE", "")
        wait_until("in the end silence is an error", lambda: plane.api.get(
            f"/instances/{plane.named('src')}")["instance"]["operating_status"] == "ERROR")
    finally:
        plane.stop()
