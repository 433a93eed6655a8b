"""A group of real servers as the tests of handover, eject and detach look at it: who is master, who
follows whom, how many full copies were made, what every setting is.
"""
import contextlib
import os
import re
import signal

from harness import attempt, wait_until


def send(pid, signum):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


@contextlib.contextmanager
def stopped(*pids):
    """Servers stand still; they go on in the end if they are still there."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


class Group:
    """A source and its replicas, all ACTIVE and durable. Members keep their place in the list
    whatever their role is. `first`: the source is there already."""

    def __init__(self, dev, replicas=2, name="sessions", more=(), first=None):
        self.dev, self.name = dev, name
        self.since = dev.api.get("/events?limit=1")["last"]  # what story() tells begins here
        self.members = [first or dev.create(name, *more)]
        if replicas:
            self.members += dev.replicas(name, replicas, name + "-rep")
        self.wait_durable()

    def wait_durable(self):
        """Behind a first copy the AOF is rewritten once: a handover would wait for it, a detach is
        refused. Known to the control plane, which hears of it a moment later."""
        for m in self.members:
            wait_until("its AOF is whole", lambda m=m: self.dev.look(m).get("durable"))

    def source(self):
        found = self.dev.source_of(self.members[0])
        return [m for m in self.members if m["id"] == found][0]

    def replicas(self):
        source = self.source()
        return [m for m in self.members if m is not source]

    def fill(self, count, size=8, first=0):
        client = self.dev.redis(self.source())
        for start in range(first, first + count, 1000):
            with client.pipeline(transaction=False) as p:
                for i in range(start, min(start + 1000, first + count)):
                    p.set(f"k{i}", f"{i}:".ljust(size, "x"))
                p.execute()
        self.wait_copied()

    def has_all(self, instance, count, size=8):
        """Every key of fill()."""
        client = self.dev.redis(instance)
        found = []
        for start in range(0, count, 1000):
            found += client.mget([f"k{i}" for i in range(start, min(start + 1000, count))])
        return all(v == f"{i}:".ljust(size, "x") for i, v in enumerate(found))

    def replication(self, instance):
        return self.dev.redis(instance).info("replication")

    def offset(self, instance):
        info = self.replication(instance)
        return info["master_repl_offset"] if info["role"] == "master" else info["slave_repl_offset"]

    def wait_copied(self):
        source = self.source()
        at = self.offset(source)
        for r in self.replicas():
            wait_until(f"{r['name']} has it all", lambda r=r: attempt(
                lambda: self.offset(r) >= at and self.replication(r)["role"] == "slave"))

    def full_copies(self):
        """Of each server: its run, and how many full copies it has served. A server that was
        started again is another run, so nothing hides behind a counter that began anew."""
        found = {}
        for m in self.members:
            info = self.dev.redis(m).info()
            found[m["name"]] = info["run_id"], info["sync_full"]
        return found

    def served(self):
        """Full copies that the servers that run now have served."""
        return sum(n for _, n in self.full_copies().values())

    def settings(self):
        """Every setting of every member, as the servers have it."""
        return {m["name"]: self.dev.agent_redis(m).config_get("*") for m in self.members}

    def is_settled(self):
        """One source, master and writable; all others ACTIVE and linked to it; nothing runs."""
        shown = [self.dev.look(m) for m in self.members]
        source = self.source()
        if any(s["status"] != "ACTIVE" or s.get("operation") for s in shown):
            return False
        for m in self.members:
            info = self.replication(m)
            if m is source:
                if info["role"] != "master":
                    return False
            elif (info["role"], info.get("master_link_status")) != ("slave", "up") or \
                    (info["master_host"], info["master_port"]) != (source["ip"][0], port(source)):
                return False
        return True

    def settle(self, limit=30):
        try:
            wait_until("one source, and all others follow it",
                       lambda: attempt(self.is_settled), limit, every=0.05)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.story()}") from None
        return self.source()

    def masters(self):
        """Members that would take a write now."""
        return [m["name"] for m in self.members
                if attempt(lambda m=m: self.replication(m)["role"]) == "master"]

    def story(self):
        """For messages: what is, and how it came."""
        lines = []
        for m in self.members:
            shown = attempt(lambda m=m: self.dev.look(m)) or {}
            info = attempt(lambda m=m: self.replication(m)) or {}
            lines.append(f"{m['name']}: {shown.get('status')} {shown.get('operating_status')} "
                         f"{shown.get('operation')} {shown.get('fault', {}).get('message')} | "
                         f"{info.get('role')} {info.get('master_host')} "
                         f"{info.get('master_link_status')} {info.get('master_replid')} "
                         f"{info.get('master_repl_offset')}")
        for e in attempt(lambda: self.dev.events(self.since)) or []:
            lines.append(f"{e.get('event')} {e.get('instance')} {e.get('epoch')} "
                         f"{e.get('reason')} {e.get('figures')}")
        return "\n".join(lines) + "\n" + self.dev.words()

    def kill(self, *instances, signum=signal.SIGKILL):
        """By the pids they had when all of them still ran."""
        pids = [self.dev.pid(i) for i in instances]
        for pid in pids:
            os.kill(pid, signum)
        return pids


def begin_replica(dev, source, name):
    """A replica in the making: it has its address, and its copy is yet to come."""
    dev.tanist("create", name, "--replica-of", source)
    conf = os.path.join(dev.folder(dev.show(name)), "redis.conf")
    wait_until("its file is written", lambda: os.path.exists(conf), every=0.002)
    with open(conf) as f:
        words = dict(line.split(None, 1) for line in f if " " in line.strip())
    return dict(dev.show(name), ip=[words["bind"].split()[0]], port=int(words["port"]))


def port(instance):
    return instance.get("port", 6379)


def kinds(dev):
    return [e["event"] for e in dev.events()]


def last_event(dev, kind):
    found = [e for e in dev.events() if e["event"] == kind]
    return found[-1] if found else None


def store_held_up_ms(dev):
    """How long the store has held something up, as the events say; 0: none says anything."""
    found = [re.search(r"\bstore_held_up_ms=(\d+)", e.get("figures", "")) for e in dev.events()]
    return max((int(f.group(1)) for f in found if f), default=0)
