"""Settings reach running servers: a flavor's limits, and what an operator changes between two
starts of tanist. No server is restarted for one that it can change live, and nobody is dropped.
"""
import pytest

from harness import Dev, attempt, wait_until

FLAVORS = """
[flavor:1]
name = small
ram = {ram}
policy = {policy}
maxmemory_pct = {pct}
[flavor:2]
name = large
ram = 1000
"""
MIB = 1 << 20


def value(d, instance, name):
    return attempt(lambda: d.agent_redis(instance).config_get(name)[name])


def has(d, instance, **wanted):
    for name, text in wanted.items():
        name = name.replace("_", "-")
        wait_until(f"{instance['name']}: {name} {text}",
                   lambda name=name, text=text: value(d, instance, name) == text)


def write_config(path, **values):
    path.write_text(FLAVORS.format(**values))


@pytest.fixture()
def config(tmp_path):
    path = tmp_path / "tanist.ini"
    write_config(path, ram=100, policy="allkeys-lru", pct=50)
    return path


@pytest.fixture()
def dev(config):
    with Dev(start=False) as d:
        d.start("--config", str(config), "--keep-servers")
        yield d


def test_a_flavor_sets_the_limit_and_what_happens_at_it(dev):
    small = dev.create("small")
    has(dev, small, maxmemory=str(50 * MIB), maxmemory_policy="allkeys-lru")
    dev.tanist("create", "large", "2", "--size", "1", "--wait")
    has(dev, dev.show("large"), maxmemory=str(750 * MIB), maxmemory_policy="noeviction")
    # A replica has its source's flavor, whatever the call says of it.
    has(dev, dev.replicas("small", 1, "copy")[0], maxmemory=str(50 * MIB),
        maxmemory_policy="allkeys-lru")


class Group:
    """A source and a replica with clients that stay connected over a change of settings."""

    def __init__(self, dev):
        self.dev = dev
        self.members = [dev.create("src"), *dev.replicas("src", 1, "rep")]
        self.clients = [dev.redis(m) for m in self.members]
        self.ids = [c.client_id() for c in self.clients]
        self.runs = [c.info("server")["run_id"] for c in self.clients]
        self.syncs = self.clients[0].info("stats")["sync_full"]

    def all_have(self, **wanted):
        for m in self.members:
            has(self.dev, m, **wanted)

    def in_the_file(self, **wanted):
        for m in self.members:
            for name, text in wanted.items():
                line = f"{name.replace('_', '-')} {text}\n"
                wait_until(f"{m['name']}: '{line.strip()}' in its file", lambda m=m, line=line:
                           line in open(self.dev.folder(m) + "/redis.conf").readlines())

    def undisturbed(self):
        assert [c.client_id() for c in self.clients] == self.ids, "a client was dropped"
        assert [c.info("server")["run_id"] for c in self.clients] == self.runs
        source = self.clients[0].info()
        assert source["role"] == "master" and source["connected_slaves"] == 1
        assert source["sync_full"] == self.syncs
        for m in self.members:
            assert self.dev.show(m["name"])["status"] == "ACTIVE"


def test_other_settings_reach_the_servers_that_run(dev, config):
    group = Group(dev)
    group.all_have(maxmemory=str(50 * MIB), repl_ping_slave_period="1", repl_diskless_sync="no")
    assert dev.stop() == 0
    write_config(config, ram=200, policy="volatile-ttl", pct=60)
    dev.settings = ["replication.ping_period=3", "replication.diskless_sync=yes"]
    dev.start("--config", str(config), "--keep-servers")
    changed = {"maxmemory": str(120 * MIB), "maxmemory_policy": "volatile-ttl",
               "repl_ping_slave_period": "3", "repl_diskless_sync": "yes"}
    group.all_have(**changed)
    group.in_the_file(**changed)
    group.undisturbed()


def test_other_settings_of_the_control_plane_alone(dev, config):
    """tanistd is killed and started again by dev with a changed file; the agent runs on."""
    group = Group(dev)
    write_config(config, ram=300, policy="noeviction", pct=50)
    dev.kill_program("tanistd")
    group.all_have(maxmemory=str(150 * MIB), maxmemory_policy="noeviction")
    group.in_the_file(maxmemory=str(150 * MIB), maxmemory_policy="noeviction")
    group.undisturbed()


def test_a_setting_goes_and_comes_back(dev, config):
    group = Group(dev)
    assert dev.stop() == 0
    dev.settings = ["replication.backlog_bytes=33554432"]
    dev.start("--config", str(config), "--keep-servers")
    group.all_have(repl_backlog_size="33554432")
    group.undisturbed()
    assert dev.stop() == 0
    dev.settings = []
    dev.start("--config", str(config), "--keep-servers")
    group.all_have(repl_backlog_size="16777216")
    group.undisturbed()
