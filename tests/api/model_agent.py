"""An agent without servers: it speaks /agent/v1 and says that every goal is carried out.

For tests of the control plane alone, where real servers would only make it slow. Instances stand
still in their building until release() lets them go, so that a test can look at both. So do
changes of the source while stall() is on: no server changes its role then.
"""
import hashlib
import http.client
import json
import threading
import uuid


OFFSET = 100  # of every server


def words(of):
    """A replication id or a run id."""
    return hashlib.sha1(of.encode()).hexdigest()


class Server:
    """What INFO of a server would say. No write ever comes, so all stand at the same offset."""

    def __init__(self, instance):
        self.run, self.replid, self.replid2 = words("run" + instance), None, ""
        self.role, self.fenced, self.upstream = "master", False, ("", 0)

    def promote(self, instance, epoch):
        if self.role != "master" or self.replid is None:
            self.replid2 = self.replid or ""
            self.replid = words(f"stream{instance}{epoch}")
        self.role, self.upstream = "master", ("", 0)

    def follow(self, upstream, replid):
        if replid:  # a server that follows nobody keeps the id of what it has
            self.replid, self.replid2 = replid, ""
        self.role, self.upstream = "replica", upstream


class ModelAgent(threading.Thread):
    def __init__(self, address, token, datastores, pool="127.0.99.1-127.0.99.250"):
        super().__init__(daemon=True)
        self.address, self.token = address, token
        self.host, self.session = str(uuid.uuid4()), str(uuid.uuid4())
        self.about = {"id": self.host, "name": "model", "addresses": pool, "ports": "6379",
                      "memory_bytes": 1 << 34, "disk_bytes": 1 << 40,
                      "datastores": [{"datastore": d, "version": v, "binary": "/bin/model"}
                                     for d, v in datastores]}
        self.lock = threading.Lock()
        self.goals, self.watches = {}, {}
        self.installation, self.seq, self.revision, self.watch = None, 0, 0, 0
        self.servers = {}
        self.released, self.hung, self.dead = set(), set(), set()
        self.stalled = False
        self.used_memory, self.disk_free = 1 << 20, 1 << 40
        self.failed_names = ()
        self.stopping = False
        self.error = None

    # what a test says

    def release(self):
        """All instances known now may be built."""
        with self.lock:
            self.released |= set(self.goals)
        self.report()

    def hang(self, instance):
        """Its server answers nothing any more."""
        with self.lock:
            self.hung.add(instance)
        self.report()

    def die(self, instance):
        """Its server is gone, and does not come back before revive()."""
        with self.lock:
            self.dead.add(instance)
        self.report()

    def revive(self, instance):
        with self.lock:
            self.dead.discard(instance)
            self.servers.pop(instance, None)
        self.report()

    def stall(self, on):
        """No change of role is carried out while it is on."""
        with self.lock:
            self.stalled = on
        self.report()

    def stop(self):
        self.stopping = True
        self.join(10)

    # what it does by itself

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            headers = {"Authorization": "Bearer " + self.token}
            if body is not None:
                headers["Content-Type"] = "application/json"
                body = json.dumps(body)
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, (path, answer.status, text)
            return json.loads(text)
        finally:
            connection.close()

    def run(self):
        try:
            self.report()
            while not self.stopping:
                self.follow(self.call("GET", f"/agent/v1/goals?host={self.host}"
                                      f"&after={self.revision}&watch={self.watch}&wait=1"))
                self.report()
        except Exception as error:  # shown by the test that waits in vain
            if not self.stopping:
                self.error = error

    def follow(self, answer):
        with self.lock:
            self.installation = answer["installation"]
            self.revision = answer.get("revision", 0)
            self.watch = answer.get("watch_revision", 0)
            for goal in answer.get("goals", []):
                self.goals[goal["instance"]] = goal
            self.watches = {w["instance"]: w for w in answer.get("watches", [])}

    def report(self):
        with self.lock:
            self.seq += 1
            # sources first: their replicas say what they saw of them
            goals = sorted(self.goals.values(), key=lambda g: g["role"] not in ("source", "yielding"))
            message = {"wire": 1, "host": self.host, "session": self.session, "seq": self.seq,
                       "full": True, "about": self.about,
                       "observations": [self.observe(g) for g in goals]}
            if self.installation:
                message["installation"] = self.installation
            # inside the lock: reports must arrive in the order of their numbers
            self.call("POST", "/agent/v1/report", message)

    def observe(self, goal):
        instance = goal["instance"]
        seen = {"instance": instance, "goal_epoch": goal["epoch"],
                "goal_revision": goal["revision"],
                "start_at_once": goal.get("start_at_once", False),
                "watch": self.watches.get(instance, {}).get("watch", 0),
                "disk_free": self.disk_free, "disk_used": 170 << 20}
        if goal["run"] == "delete":
            return dict(seen, proc="deleted", goal_applied=True)
        if instance not in self.released:
            return dict(seen, proc="starting")
        if any(word in goal.get("name", "") for word in self.failed_names):
            return dict(seen, proc="failed", error="it was told to fail")
        if instance in self.dead:
            return dict(seen, proc="exited", error="it was told to die")
        if instance in self.hung and not goal.get("kill_hung"):
            return dict(seen, proc="hung")
        if instance in self.hung:
            return dict(seen, proc="exited", error="it was killed")
        return dict(seen, **self.running(goal))

    def server_at(self, address):
        for goal in self.goals.values():
            if (goal["address"], goal["port"]) == address and goal["run"] != "delete":
                gone = goal["instance"] in self.hung | self.dead
                return None if gone else self.servers.get(goal["instance"])
        return None

    def obey(self, goal, server):
        upstream = (goal.get("upstream_host", ""), goal.get("upstream_port", 0))
        peer = self.watches.get(goal["instance"], {}).get("peer", -1)
        source = self.server_at(upstream)
        server.fenced = goal.get("fenced", False)
        if goal["role"] == "source":
            server.promote(goal["instance"], goal["epoch"])
        elif goal["role"] == "replica" or (goal["role"] == "yielding" and peer >= OFFSET):
            server.follow(upstream, source and source.replid)
        elif goal["role"] in ("guarded", "sealed"):
            server.follow(("127.0.0.1", 0), None)

    def running(self, goal):
        server = self.servers.setdefault(goal["instance"], Server(goal["instance"]))
        role = {"source": "master", "replica": "replica"}.get(goal["role"])
        applied = not self.stalled or role == server.role
        if not self.stalled:
            self.obey(goal, server)
        source = self.server_at(server.upstream)
        replica = server.role == "replica"
        return {"proc": "running", "goal_applied": applied, "marker": "new",
                "run_id": server.run, "replid": server.replid or words("none"),
                "replid2": server.replid2, "second_offset": OFFSET + 1 if server.replid2 else -1,
                "role": server.role, "fenced": server.fenced, "offset": OFFSET,
                "slave_offset": OFFSET if replica else -1,
                "link_up": replica and source is not None, "last_io_s": 0 if source else -1,
                "upstream_host": server.upstream[0], "upstream_port": server.upstream[1],
                "used_memory": self.used_memory, "aof": True, "aof_rewrite_ok": True,
                "durable": True}
