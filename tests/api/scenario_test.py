"""The failure scenarios of REDIS.md 2 that concern a planned or commanded change, on real servers:
each has a test named after its number here, or is shown by the tests that ROWS names.
"""
import contextlib
import glob
import os
import re
import signal
import subprocess
import time

import pytest
import redis

from groups import Group, kinds, port, send, stopped
from harness import Dev, attempt, wait_until
from writers import Connection, Writers, by_pipeline, discover

LATER = "left for automatic failover"

#: Row: tests that show it (FILE::TEST, or one of this file), or why there are none here.
ROWS = {
    1: ["loss_test::test_row_1_source_killed_again_and_again_while_it_is_compared",
        "loss_test::test_row_1_started_by_hand_without_data_while_the_agent_is_down",
        "eject_test::test_eject_of_a_held_source"],
    2: ["guard_test::test_an_older_aof_put_back", "test_row_2_an_older_source_is_ejected"],
    3: ["handover_test::test_fifty_in_a_row_lose_nothing",
        "handover_test::test_scripts_transactions_and_messages"],
    4: ["test_row_4_the_old_source_is_started_first_and_alone",
        "eject_test::test_the_ejected_one_is_fenced_wherever_one_looks"],
    5: ["handover_test::test_source_stopped_after_the_commit",
        "eject_test::test_a_hung_source_is_killed_first"],
    6: ["handover_test::test_source_stopped_in_the_fence",
        "eject_test::test_held_until_the_source_returns"],
    7: LATER + ": nobody commands a change there; eject of a source that cannot be reached is "
       "eject_test::test_a_lost_host_needs_the_operators_word",
    8: ["eject_test::test_refused_while_a_source_without_its_agent_answers"],
    9: ["test_row_9_replicas_cut_off_from_a_healthy_source"],
    10: ["test_row_10_a_candidate_of_another_history"],
    11: ["test_row_11_a_candidate_in_the_middle_of_a_full_copy",
         "handover_test::test_replica_in_its_first_sync"],
    12: ["eject_test::test_a_busy_replica_loses_nothing_that_it_had_received"],
    13: ["eject_test::test_the_highest_offset_wins"],
    14: ["eject_test::test_held_until_the_operator_accepts"],
    15: ["loss_test::test_row_15_all_members_killed_in_every_order",
         "handover_test::test_everything_killed_and_started_in_any_order"],
    16: ["test_row_16_a_backlog_too_small_makes_no_loop_of_full_copies"],
    17: LATER + ": a handover makes none, handover_test::test_fifty_in_a_row_lose_nothing",
    18: LATER + ": nothing is killed for loading",
    19: ["disk_test::test_full_under_the_source", "handover_test::test_disk_of_the_source_full"],
    20: LATER + ": a slow disk is no reason that a person gives",
    21: ["test_rows_21_22_31_behind_a_handover_and_an_eject",
         "loss_test::test_rows_21_22_31_every_file_is_what_a_restart_needs"],
    22: ["test_rows_21_22_31_behind_a_handover_and_an_eject",
         "loss_test::test_rows_21_22_31_every_file_is_what_a_restart_needs"],
    23: ["handover_test::test_clients_of_the_old_source_are_dropped_last"],
    24: ["test_row_24_discovery_is_right_at_the_commit"],
    25: ["crash_change_test::test_one_kill",
         "loss_test::test_row_25_control_plane_and_agent_killed_while_a_source_restarts"],
    26: LATER + ": nothing is restarted in turn yet",
    27: "the table of versions is core/versions.c, tests/unit/core/versions_test.c",
    28: LATER + ": no decision reads the wall clock, tests/sim",
    29: LATER + ": nothing dies of a silent connection here",
    30: "FAILOVER is never sent",
    31: ["test_rows_21_22_31_behind_a_handover_and_an_eject",
         "loss_test::test_rows_21_22_31_every_file_is_what_a_restart_needs"],
    32: ["one_machine_test::test_replicas_are_read_only_copies_that_follow",
         "test_row_10_a_candidate_of_another_history"],
}

#: REDIS.md 2: "to be shown on real servers".
ON_REAL_SERVERS = {1, 2, 3, 4, 5, 9, 10, 11, 12, 16, 19, 21, 22, 23, 25, 31}


def functions(file):
    with open(os.path.join(os.path.dirname(__file__), file + ".py")) as f:
        return set(re.findall(r"^def (test_\w+)", f.read(), re.M))


def test_every_row_is_shown_or_says_why_not(record_property):
    assert set(ROWS) == set(range(1, 33))
    named = set()
    for row, shown in ROWS.items():
        if isinstance(shown, str):
            assert row not in ON_REAL_SERVERS, row
            shown = re.findall(r"\w+_test::test_\w+", shown)
        else:
            assert shown, row
        for test in shown:
            file, _, name = test.rpartition("::")
            assert name in functions(file or "scenario_test"), (row, test)
            named.add(name)
    # And every test here that is of a row is named by it.
    assert {t for t in functions("scenario_test") if t.startswith("test_row")} <= named
    later = sorted(r for r, s in ROWS.items() if isinstance(s, str) and s.startswith(LATER))
    record_property("told", f"rows of REDIS.md 2 left for automatic failover: {later}")


def eject(g, source, limit=40):
    witness = [m for m in g.members if m is not source][0]
    before = g.dev.look(witness).get("last_operation")

    def asked():
        return g.dev.ask(source, "eject_replica_source")[0] == 202
    wait_until("the eject is accepted", asked, 20, every=0.01)
    last = g.dev.outcome(witness, before, limit)
    assert last["done"], f"{last}\n{g.story()}"
    g.members.remove(source)
    return g.settle()


def test_row_2_an_older_source_is_ejected(tmp_path):
    """It comes back with an older AOF than its replicas: held, and one of them takes over."""
    with Dev(settings=["agent.restart_delay=1500"]) as d:
        g = Group(d)
        g.fill(100)
        source = g.members[0]
        data = os.path.join(d.folder(source), "data")
        subprocess.run(["cp", "-a", data, tmp_path / "old"], check=True)
        g.fill(100, first=100)
        g.kill(source)
        subprocess.run(["rm", "-rf", data], check=True)
        subprocess.run(["cp", "-a", tmp_path / "old", data], check=True)
        d.wait_status(source["id"], "ERROR")
        eject(g, source)
        assert all(g.has_all(m, 200) for m in g.members)


def test_row_4_the_old_source_is_started_first_and_alone():
    """By hand, while nothing of tanist runs: its file says what it is since the handover."""
    with Dev() as d:
        g = Group(d)
        g.fill(100)
        old = g.members[0]
        d.promote(g.members[1])
        g.settle()
        d.redis(g.members[1]).set("after", "handover")
        g.wait_copied()
        pids = [d.pid(m) for m in g.members]
        d.kill()
        for pid in pids:
            send(pid, signal.SIGKILL)
        by_hand = subprocess.Popen(["redis-server", os.path.join(d.folder(old), "redis.conf")],
                                   cwd="/", stdout=subprocess.DEVNULL)
        try:
            wait_until("it answers", lambda: attempt(lambda: d.redis(old).ping()))
            assert g.replication(old)["role"] == "slave"
            with pytest.raises(redis.exceptions.ReadOnlyError):
                d.redis(old).set("stray", "write")
        finally:
            by_hand.kill()
            by_hand.wait()
        d.start()
        assert g.settle(60) is g.members[1]
        assert all(g.has_all(m, 100) and d.redis(m).get("after") == "handover"
                   for m in g.members)


def test_row_9_replicas_cut_off_from_a_healthy_source():
    """It lives: no eject, whatever is accepted. With durability it refuses writes meanwhile; async
    lets it go on."""
    with Dev(discovery=True) as d:
        g = Group(d)
        source = g.members[0]
        client = d.redis(source)
        assert d.api.call("POST", f"/instances/{source['id']}/action",
                          {"durability": "bounded(1)"})[0] == 200
        assert client.set("before", "1")
        with stopped(*[d.pid(m) for m in g.members[1:]]):
            def refuses():
                try:
                    client.set("cut", "off")
                except redis.ResponseError as e:
                    return "NOREPLICAS" in str(e)
                return False
            wait_until("it refuses writes", refuses, 15)
            for accept in (False, True):
                status, message = d.ask(source, "eject_replica_source", accept_data_loss=accept)
                assert status == 400, (status, message)
            status, body = d.api.call("POST", f"/instances/{source['id']}/action",
                                      {"durability": "async"})
            assert status == 200, body
            wait_until("it takes writes", lambda: attempt(lambda: client.set("cut", "on")), 10)
        assert "eject.started" not in kinds(d)
        g.settle()
        g.wait_copied()
        assert all(d.redis(m).get("cut") == "on" for m in g.members)


def test_row_10_a_candidate_of_another_history():
    """A replica that was promoted by hand wrote much: its offset is the highest, and it has bytes
    that the group never had. It is not elected."""
    with Dev(settings=["agent.restart_delay=2000"]) as d:
        g = Group(d)
        g.fill(100)
        source, stray, good = g.members
        d.agent_redis(stray).execute_command("SLAVEOF NO ONE")
        client = d.redis(stray)
        for i in range(200):
            with contextlib.suppress(redis.RedisError):
                client.set(f"stray{i}", "x" * 1000)
        shown = d.wait_status(stray["id"], "ERROR")
        assert shown["fault"]["message"]
        assert g.offset(stray) > g.offset(good) + 50_000
        g.kill(source)
        wait_until("the good one has lost its link", lambda: attempt(
            lambda: g.replication(good)["master_link_status"] == "down"))
        election = d.api.get(f"/instances/{good['id']}/election")["election"]
        why = {c["id"]: (c["eligible"], c["why"]) for c in election["candidates"]}
        assert why[good["id"]][0] and not why[stray["id"]][0], election
        status, message = d.ask(stray, "promote_to_replica_source")
        assert status in (400, 422), (status, message)
        g.members.remove(stray)
        assert eject(g, source) is good
        assert g.has_all(good, 100)
        assert d.redis(good).dbsize() == 100
        # Told to, it gives up what only it has.
        d.tanist("start", stray["id"], "--accept-data-loss")
        d.wait_status(stray["id"], "ACTIVE")
        wait_until("it is a copy", lambda: attempt(lambda: d.redis(stray).dbsize() == 100))


def test_row_11_a_candidate_in_the_middle_of_a_full_copy():
    """It was attached once and lost its data; its new copy is under way when the source dies."""
    with Dev(settings=["agent.restart_delay=1500"]) as d:
        g = Group(d)
        g.fill(500)
        source, copying, good = g.members
        d.agent_redis(source).config_set("rdb-key-save-delay", 20_000)
        g.kill(copying)
        data = os.path.join(d.folder(copying), "data")
        for path in glob.glob(os.path.join(data, "*")):
            subprocess.run(["rm", "-rf", path], check=True)
        wait_until("it copies", lambda: attempt(
            lambda: g.replication(copying)["master_sync_in_progress"] == 1), 20)
        election = d.api.get(f"/instances/{good['id']}/election")["election"]
        assert election["winner"] == good["id"], election
        status, message = d.ask(copying, "promote_to_replica_source")
        if status == 202:  # then the check refuses it
            last = d.outcome(copying, d.look(copying).get("last_operation"))
            assert not last["done"], last
        g.kill(source)
        assert eject(g, source) is good
        assert all(g.has_all(m, 500) for m in g.members)


def test_row_16_a_backlog_too_small_makes_no_loop_of_full_copies():
    """16 KiB of it, and far more is written while the members change places. Full copies may be
    needed then; each ends, and there is not one after another."""
    with Dev(discovery=True, settings=["replication.backlog_bytes=16384"]) as d:
        g = Group(d)
        rounds = 4
        with Writers(d, g.name, count=2, write=by_pipeline, rate=4000, batch=100, size=200) as w:
            for n in range(rounds):
                last = d.begin(g.members[(n + 1) % 3], "promote_to_replica_source")()
                assert last["reason"], last
                w.goes_on()
                wait_until("one source, and all follow it", lambda: attempt(g.is_settled), 30)
                g.wait_durable()
        source = g.settle()
        w.verify(source, g.replicas())
        # Two for the group's creation, at most one for each of the others in each round.
        assert g.served() <= 2 + 2 * rounds
        served = g.served()
        d.redis(source).set("quiet", "1")
        g.wait_copied()
        assert g.served() == served


def subscriber(d):
    c = Connection(("127.0.0.1", d.discovery_port), 20)
    c.call("SUBSCRIBE", "+switch-master")
    return c


def test_row_24_discovery_is_right_at_the_commit():
    """Subscribers are told; whoever asks is never sent to a server that had stopped being the
    source, once he was sent to its successor."""
    with Dev(discovery=True, settings=["agent.restart_delay=1000"]) as d:
        g = Group(d)
        c = subscriber(d)
        old, new = g.members[:2]
        d.promote(new)

        def told(before, after):
            """Each name of the group has a message of its own."""
            words = []
            while words[:1] != [g.name]:
                kind, channel, text = c.answer()
                assert (kind, channel) == (b"message", b"+switch-master")
                words = text.decode().split()
                assert words[1:] == [before["ip"][0], str(port(before)),
                                     after["ip"][0], str(port(after))] or words[0] != g.name
        told(old, new)
        for name in (g.name, "dev/" + g.name, old["id"], new["id"]):
            assert discover(d.discovery_port, name) == (new["ip"][0], port(new))
        g.settle()
        g.kill(new)
        winner = eject(g, new)
        told(new, winner)
        assert discover(d.discovery_port, g.name) == (winner["ip"][0], port(winner))
        c.close()


def upstream_in_file(d, instance):
    with open(os.path.join(d.folder(instance), "redis.conf")) as f:
        return [line for line in f.read().splitlines() if line.startswith("slaveof ")]


def test_rows_21_22_31_behind_a_handover_and_an_eject():
    """Every member has the same credentials, its file is what a restart needs, and a source that
    is idle keeps its history."""
    with Dev(settings=["agent.restart_delay=1000"]) as d:
        g = Group(d)
        g.fill(50)
        d.promote(g.members[1])
        g.settle()
        files_are_right(d, g)
        # Settings of the fence are gone from memory and from the file.
        assert {d.agent_redis(m).config_get("min-slaves-to-write")["min-slaves-to-write"]
                for m in g.members} == {"0"}
        source = g.source()
        g.kill(source)
        eject(g, source)
        files_are_right(d, g)
        # Each of them is started again as it is; nobody makes a full copy for want of a history.
        replid = g.replication(g.source())["master_replid"]
        time.sleep(1.5)  # longer than a period of anything
        assert g.replication(g.source())["master_replid"] == replid
        for m in list(g.members):
            g.wait_durable()
            d.kill_server(m)
            g.settle(60)
            assert g.has_all(m, 50)


def files_are_right(d, g):
    users, source = set(), g.source()

    def expected(m):
        return ["slaveof 127.0.0.1 0"] if m is source else [
            f'slaveof "{source["ip"][0]}" {port(source)}']
    for m in g.members:
        # A group of one starts without being compared.
        if len(g.members) > 1:
            wait_until("its file is what a restart needs",
                       lambda m=m: upstream_in_file(d, m) == expected(m), 10)
        path = os.path.join(d.folder(m), "redis.conf")
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path) as f:
            lines = f.read().splitlines()
        assert not [line for line in lines if line.startswith("include ")]
        users.add(tuple(line for line in lines
                        if line.startswith(("masterauth ", "masteruser ", "user tanist"))))
        assert d.agent_redis(m).config_get("repl-backlog-ttl")["repl-backlog-ttl"] == "0"
    assert len(users) == 1
