"""Many groups come and go side by side, round after round, and nothing is left of them."""
import concurrent.futures
import os

from harness import Dev, wait_until

GROUPS, ROUNDS, REPLICAS = 10, 3, 1
LIMIT = 90


def call(d, method, path, body=None, good=(200, 202)):
    status, answer = d.api.call(method, path, body)
    assert status in good, (method, path, status, answer)
    return answer


def is_active(d, instance):
    shown = call(d, "GET", f"/instances/{instance['id']}")["instance"]
    assert shown["status"] != "ERROR", shown
    return shown if shown["status"] == "ACTIVE" else None


def active(d, instance):
    return wait_until(f"{instance['name']} is ACTIVE", lambda: is_active(d, instance), LIMIT, 0.05)


def is_gone(d, instance):
    return d.api.call("GET", f"/instances/{instance['id']}")[0] == 404


def delete(d, instance):
    call(d, "DELETE", f"/instances/{instance['id']}")
    wait_until(f"{instance['name']} is gone", lambda: is_gone(d, instance), LIMIT, 0.05)


def come_and_go(d, name):
    source = active(d, call(d, "POST", "/instances", {"instance": {
        "name": name, "flavorRef": "1", "volume": {"size": 1}}})["instance"])
    d.redis(source).set("k", name)
    call(d, "POST", "/instances", {"instance": {
        "name": f"{name}-copy", "replica_of": source["id"], "replica_count": REPLICAS}})
    replicas = [i for i in d.instances() if i["name"].startswith(f"{name}-copy")]
    assert len(replicas) == REPLICAS
    for r in [active(d, r) for r in replicas]:
        assert d.redis(r).get("k") == name
        delete(d, r)
    delete(d, source)


def test_groups_that_come_and_go_side_by_side(record_property):
    with Dev() as d:
        with concurrent.futures.ThreadPoolExecutor(GROUPS) as pool:
            for n in range(ROUNDS):
                done = [pool.submit(come_and_go, d, f"g{k}-{n}") for k in range(GROUPS)]
                for each in done:
                    each.result()
        wait_until("no server is left", lambda: d.server_pids() == [])
        assert d.instances() == []
        assert os.listdir(os.path.join(d.dir, "agent", "instances")) == []
        # The addresses are free again, and tanist is as good as new.
        come_and_go(d, "last")
        log = open(d.dir + "/tanistd.log").read() + open(d.dir + "/agent.log").read()
        bad = [line for line in log.splitlines() if "level=error" in line or "Sanitizer" in line]
        assert not bad, bad
        record_property("told", f"groups that came and went: {GROUPS * ROUNDS + 1}, "
                        f"each with {REPLICAS} replica")
