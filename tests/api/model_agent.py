"""An agent without servers: it speaks /agent/v1 and says that every goal is carried out.

For tests of the control plane alone, where real servers would only make it slow. Instances stand
still in their building until release() lets them go, so that a test can look at both.
"""
import hashlib
import http.client
import json
import threading
import uuid


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
        self.released, self.hung = set(), set()
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
            self.watches = {w["instance"]: w.get("watch", 0) for w in answer.get("watches", [])}

    def report(self):
        with self.lock:
            self.seq += 1
            message = {"wire": 1, "host": self.host, "session": self.session, "seq": self.seq,
                       "full": True, "about": self.about,
                       "observations": [self.observe(g) for g in self.goals.values()]}
            if self.installation:
                message["installation"] = self.installation
            # inside the lock: reports must arrive in the order of their numbers
            self.call("POST", "/agent/v1/report", message)

    def observe(self, goal):
        instance = goal["instance"]
        seen = {"instance": instance, "goal_epoch": goal["epoch"],
                "goal_revision": goal["revision"],
                "start_at_once": goal.get("start_at_once", False),
                "watch": self.watches.get(instance, 0), "disk_free": self.disk_free,
                "disk_used": 170 << 20}
        if goal["run"] == "delete":
            return dict(seen, proc="deleted", goal_applied=True)
        if instance not in self.released:
            return dict(seen, proc="starting")
        if any(word in goal.get("name", "") for word in self.failed_names):
            return dict(seen, proc="failed", error="it was told to fail")
        if instance in self.hung:
            return dict(seen, proc="hung")
        return dict(seen, **self.running(goal))

    def running(self, goal):
        def words(of):
            return hashlib.sha1(of.encode()).hexdigest()
        replica = goal["role"] == "replica"
        return {"proc": "running", "goal_applied": True, "marker": "new",
                "run_id": words("run" + goal["instance"]), "replid": words(goal["group"]),
                "role": "replica" if replica else "master", "offset": 100,
                "slave_offset": 100 if replica else -1, "link_up": replica,
                "upstream_host": goal.get("upstream_host", ""),
                "upstream_port": goal.get("upstream_port", 0),
                "used_memory": self.used_memory, "aof": True, "aof_rewrite_ok": True, "durable": True}
