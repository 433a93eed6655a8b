"""What the API promises beyond the recorded answers, against a control plane with a modelled agent:
login, limits, room on the disk, names, turns."""
import json
import threading

import pytest

from recorded_test import Plane, Replay, compare, read_cases

GOOD = {"name": "x", "flavorRef": "1", "volume": {"size": 1}, "datastore": {"type": "redis"}}


@pytest.fixture(name="start")
def fixture_start():
    planes = []

    def start(*settings, **more):
        planes.append(Plane(*settings, **more))
        return planes[-1]
    yield start
    for plane in planes:
        assert plane.close() == 0


def call(plane, method, path, body=None, token="t1", **headers):
    """Status and body of a call as a member of project t1."""
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    if token is not None:
        headers["X-Auth-Token"] = token
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
        body = json.dumps(body)
    status, _, answer = plane.call(method, path, headers, body)
    return status, answer


def create(plane, status=200, **changes):
    plane.projects.add("t1")
    got, answer = call(plane, "POST", "/v1.0/t1/instances", {"instance": {**GOOD, **changes}})
    assert got == status, answer
    return answer["instance"] if status == 200 else next(iter(answer.values()))["message"]


def replicas(plane, source, status=200, **changes):
    body = {"instance": {"name": "r", "replica_of": source["id"], **changes}}
    got, answer = call(plane, "POST", "/v1.0/t1/instances", body)
    assert got == status, answer
    return answer["instance"] if status == 200 else next(iter(answer.values()))["message"]


def test_who_may(start):
    plane = start()
    for token in (None, "", "t", "nobody"):
        status, body = call(plane, "GET", "/v1.0/t1/instances", token=token)
        assert (status, body["error"]["title"]) == (401, "Unauthorized")
        assert call(plane, "GET", "/v1.0/t1/nothing", token=token)[0] == 401
    status, body = call(plane, "GET", "/v1.0/t2/instances")
    assert (status, body["code"], body["title"]) == (403, "403 Forbidden", "Forbidden")
    assert call(plane, "GET", "/agent/v1/goals?host=x")[0] == 401
    assert call(plane, "GET", "/v1auth", X_Auth_Key="wrong")[0] == 401
    assert call(plane, "GET", "/v1auth", X_Auth_Key="t1")[0] == 200


def test_an_instance_is_its_projects_alone(start):
    plane = start()
    path = "/instances/" + create(plane)["id"]
    for method, tail, body in (("GET", "", None), ("DELETE", "", None),
                               ("PUT", "", {"instance": {"name": "n"}}),
                               ("POST", "/action", {"restart": {}})):
        assert call(plane, method, "/v1.0/t2" + path + tail, body, token="t2")[0] == 404
    assert call(plane, "GET", "/v1.0/t2" + path, token="t2:admin")[0] == 200
    # and an administrator's change is made in the turn of the project whose it is
    change = {"instance": {"name": "by admin"}}
    assert call(plane, "PUT", "/v1.0/t2" + path, change, token="t2:admin")[0] == 202
    assert [i["name"] for i in plane.instances("t1")] == ["by admin"]


def test_requests_per_minute(start):
    plane = start("api.rate_limit=3")
    got = [call(plane, "GET", "/v1.0/t9/flavors", token="t9") for _ in range(4)]
    assert [status for status, _ in got] == [200, 200, 200, 413]
    fault = got[3][1]["overLimit"]
    assert fault["code"] == 413 and 1 <= int(fault["retryAfter"]) <= 60
    assert call(plane, "GET", "/v1.0/tv/flavors", token="tv")[0] == 200


def test_quotas_hold_against_many_at_once(start):
    plane = start("quota.instances=7")
    seen = []

    def some():
        for _ in range(5):
            seen.append(call(plane, "POST", "/v1.0/t1/instances", {"instance": GOOD})[0])
    threads = [threading.Thread(target=some) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(seen) == [200] * 7 + [413] * 13
    ours = plane.instances("t1")
    assert sorted(i["group"] for i in ours) == sorted(["x"] + [f"x-{k}" for k in range(2, 8)])


def test_quotas_count_all_replicas_together(start):
    plane = start("quota.instances=3")
    source = create(plane)
    plane.settle()
    assert "instances" in replicas(plane, source, 413, replica_count=3)
    assert len(plane.instances("t1")) == 1
    assert len(replicas(plane, source, replica_count=2)["replica_ids"]) == 2


def test_the_disk_check_names_both_figures(start):
    plane = start()
    source = create(plane)
    plane.settle()
    plane.agent.used_memory, plane.agent.disk_free = 1000, 4999
    plane.agent.report()
    said = replicas(plane, source, 422, replica_count=2)
    assert "5000 bytes" in said and "4999 are free" in said
    assert len(plane.instances("t1")) == 1
    plane.agent.disk_free = 5000
    plane.agent.report()
    replicas(plane, source, replica_count=2)


def test_what_is_refused_holds_no_address(start):
    """The pool has three addresses: one for the source, so three replicas never fit."""
    plane = start(pool="127.0.98.1-127.0.98.3")
    source = create(plane)
    plane.settle()
    for _ in range(3):
        replicas(plane, source, 422, replica_count=3)
    replicas(plane, source, replica_count=2)
    plane.settle()
    assert sorted(i["ip"][0][-1] for i in plane.instances("t1")) == ["1", "2", "3"]


def test_names_and_order_of_replicas(start):
    plane = start()
    source = create(plane, name="s")
    plane.settle()
    one = replicas(plane, source, name="a", replica_count=3)
    assert one["name"] == "a-1" and one["id"] == one["replica_ids"][0]
    assert replicas(plane, source, name="b")["replica_ids"]
    assert [i["name"] for i in plane.instances("t1")] == ["s", "a-1", "a-2", "a-3", "b"]
    assert "replica of a replica" in replicas(plane, {"id": one["id"]}, 403)
    assert "not be smaller" in replicas(plane, create_bigger(plane), 403, volume={"size": 1})


def create_bigger(plane):
    big = create(plane, name="big", volume={"size": 2})
    plane.settle()
    return big


def test_a_page_after_another(start):
    plane = start()
    names = [create(plane, name=f"n{i}")["name"] for i in range(7)]
    seen, path = [], "/v1.0/t1/instances?limit=3&include_clustered=False"
    while path:
        status, body = call(plane, "GET", path)
        assert status == 200 and len(body["instances"]) <= 3
        seen += [i["name"] for i in body["instances"]]
        links = body.get("links")
        path = links and links[0]["href"].split(plane.address)[1]
        assert not path or path.endswith("&include_clustered=False")
    assert seen == names


def test_nothing_to_accept(start):
    plane = start()
    path = f"/v1.0/t1/instances/{create(plane)['id']}/action"
    plane.settle()
    status, body = call(plane, "POST", path, {"start": {"accept_data_loss": True}})
    assert status == 422 and "nothing to accept" in body["unprocessableEntity"]["message"]
    assert call(plane, "POST", path, {"start": {}})[0] == 400


def test_strict_refuses_as_release_18(start):
    plane = start("api.strict=yes", "replication.max_replicas=3")
    cases = [c for c in read_cases() if c["name"].startswith("10/")]
    wanted = {"10/replica.refused." + w for w in ("flavor", "flavor-other", "datastore", "volume",
                                                  "locality", "count-4")}
    replay = Replay(plane, cases, None)
    replay.send(cases[0])
    seen = 0
    for case in cases:
        if case["name"] in wanted:
            assert compare(case, *replay.send(case)) == [], case["name"]
            seen += 1
    assert seen == len(wanted)
