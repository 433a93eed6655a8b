"""The dry run of an election on real servers: its figures are of the moment of the question, and
where they cannot be it says how old they are (`tanist elect`).
"""
import concurrent.futures
import contextlib
import os
import re
import signal
import time

import pytest

from groups import Group
from harness import Dev, wait_until

READERS = 300  # more than may wait at one time


@pytest.fixture()
def dev():
    with Dev() as d:
        yield d


def elect(g, member=0):
    return g.dev.api.get(f"/instances/{g.members[member]['id']}/election")["election"]


def offsets(g):
    return {m["id"]: g.offset(m) for m in g.members}


@contextlib.contextmanager
def agent_stopped(d):
    pid = d.program_pid("agent")
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_figures_are_of_now(dev):
    """Nobody else asks for offsets: without a question they are of some time ago. Pings move them
    by themselves, so they are between what was read before and what is read behind."""
    g = Group(dev)
    for turn in range(5):
        g.fill(100, first=100 * turn)
        before = offsets(g)
        election = elect(g, turn % 3)
        after = offsets(g)
        shown = {c["id"]: c["offset"] for c in election["candidates"] + [election["source"]]}
        assert set(shown) == set(before)
        for one, offset in shown.items():
            assert before[one] <= offset <= after[one], (turn, election, before, after)
        assert election["source"]["fresh"] and all(c["fresh"] for c in election["candidates"])
        assert all(f"{100 * turn + 100} keys" in c["text"] and "seen" not in c["text"]
                   for c in election["candidates"]), election
    text = dev.tanist("elect", "sessions").stdout
    assert re.search(r"sessions-rep-1 +yes +\d{4}", text) and "500 keys" in text, text


def test_old_figures_are_told_from_fresh_ones(dev):
    g = Group(dev)
    g.fill(10)
    with agent_stopped(dev):
        wait_until("the figures are old", lambda: all(
            (c["seen_seconds_ago"] or 0) >= 1 for c in elect(g)["candidates"]), every=0.2)
        began = time.monotonic()
        election = elect(g)
        assert time.monotonic() - began < 5, "it waits for a moment only"
        for c in election["candidates"]:
            assert not c["fresh"] and re.search(r"; seen \d+ s ago$", c["text"]), c
        assert not election["source"]["fresh"]
        assert "s ago" in dev.tanist("elect", "sessions").stdout
    wait_until("its agent answers again", lambda: all(c["fresh"] for c in elect(g)["candidates"]))


def test_many_who_ask_are_all_answered(dev):
    """Those who are too many to wait get what is known."""
    g = Group(dev, replicas=1)
    path = f"/instances/{g.members[0]['id']}/election"
    with agent_stopped(dev), concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        answers = list(pool.map(lambda _: dev.api.call("GET", path, limit=60), range(READERS)))
    assert {status for status, _ in answers} == {200}
    assert all(body["election"]["winner"] for _, body in answers)
    wait_until("all is well", lambda: all(c["fresh"] for c in elect(g)["candidates"]))
