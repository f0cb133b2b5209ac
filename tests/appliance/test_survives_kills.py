"""Workers, database and queue are killed at every stage of files: each is ready in the end, whole and once.

The stage is the one that the file's row says, and it is waited for. `make soak-ingest` does the same many more times.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from appliance_desk import Desk, blob_files, evidence_since, last_event_id, nothing_changes, refusal, until, upload

from appliance.documents.models import Collection, DocumentVersion
from benchmarks import survival
from benchmarks.ingest_kills import SETTINGS, Kills, ledger
from benchmarks.slow_embedder import SlowEmbedder

#: Twenty kills, over all stages.
ROUNDS = {"claimed": 4, "reading": 3, "text": 4, "children": 3, "embedding": 2, "finishing": 4}


@pytest.fixture(scope="module")
def quick(desk: Desk) -> Iterator[SlowEmbedder]:
    """Workers that take over soon, and ask for vectors through a server that can be slow; afterwards as before."""
    stack = desk.room.stack
    usual = dict(stack.environment)
    parts = ("worker", "beat")
    with SlowEmbedder(stack.environment["APPLIANCE_INFERENCE_URL"]) as embedder:
        stack.environment.update(SETTINGS | {"APPLIANCE_INFERENCE_URL": embedder.url})
        try:
            for part in parts:
                stack.restart(part)
            stack.wait_ready(120)
            yield embedder
        finally:
            stack.environment.clear()
            stack.environment.update(usual)
            for part in parts:
                stack.restart(part)
            stack.wait_ready(120)


@pytest.fixture
def kills(desk: Desk, quick: SlowEmbedder, matter: str) -> Kills:
    owner = desk.room.environment["APPLIANCE_DATABASE_OWNER_URL"]
    return Kills(desk.room.stack, owner, quick, Collection.objects.get(pk=matter), random.Random(4711))


def last_version() -> int:
    return DocumentVersion.objects.order_by("-pk").values_list("pk", flat=True)[0]


def assert_whole(kills: Kills, since: int, expected: int) -> None:
    """All rules hold, and every one of the versions after `since` became ready, once."""
    data_dir = Path(kills.stack.environment["APPLIANCE_DATA_DIR"])
    assert survival.faults(kills.owner_url, data_dir) == {}
    assert survival.outcomes(kills.owner_url, since) == {"ready": expected}


def test_workers_killed_at_every_stage_lose_nothing_and_leave_nothing(kills: Kills) -> None:
    since, before = last_version(), last_event_id()
    stages = list(ROUNDS)
    kills.random.shuffle(stages)
    for stage in stages:
        kills.at(stage, ROUNDS[stage])
    assert sum(kills.killed.values()) == 20
    children = 4 * ROUNDS["children"]
    assert_whole(kills, since, 20 + children)
    ended = evidence_since(before, type="ingest")
    assert {event["outcome"] for event in ended} == {"success"}
    per_version = Counter((entity["id"], entity["version"]) for event in ended for entity in event["entities"])
    assert len(per_version) == 20 + children and set(per_version.values()) == {1}
    again = DocumentVersion.objects.filter(pk__gt=since, document__parent=None, attempts__gt=1).count()
    assert again == 20


def test_a_queue_that_lost_everything_and_a_database_that_crashed_lose_no_file(
    kills: Kills, mary: httpx.Client
) -> None:
    since = last_version()
    kills.crash(6, working=4)
    first = mary.get("/api/v1/collections")  # may meet a connection that was in use when the database crashed
    assert first.status_code == 200 or first.json()["error"]["code"] == "database_unavailable"
    assert mary.get("/api/v1/collections").status_code == 200
    assert_whole(kills, since, 6)


def test_an_embedder_that_is_slow_or_too_slow_costs_time_and_no_attempt(kills: Kills) -> None:
    since = last_version()
    kills.stack.environment["APPLIANCE_INFERENCE_SILENCE_TIMEOUT_S"] = "4"
    kills.stack.restart("worker")
    kills.embedder.hold_smaller_than(64)
    kills.send(f"tide-{since}.md", ledger(f"tide {since}", sections=6))
    (version,) = DocumentVersion.objects.filter(pk__gt=since)
    until(lambda: DocumentVersion.objects.get(pk=version.pk).error_code == "model_timeout", every_s=0.02)
    version.refresh_from_db()
    assert (version.status, version.attempts) == ("queued", 0)
    kills.embedder.delay_s = 2.5  # longer than the lease, which is renewed meanwhile
    try:
        kills.embedder.let_go()
        kills.await_end()
    finally:
        kills.embedder.delay_s = 0.0
    assert_whole(kills, since, 1)
    assert DocumentVersion.objects.get(pk=version.pk).attempts == 1


@contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    """The folder on a disk of its own with room for 64 KB."""
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]).returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_without_room_to_open_files_in_they_wait_until_there_is(kills: Kills) -> None:
    since = last_version()
    with tiny_disk(Path(kills.stack.environment["APPLIANCE_DATA_DIR"]) / "uploads") as uploads:
        kills.send(f"wide-{since}.txt", f"The spoonbill of {since} wades. ".encode() + b" " * 200_000)
        (version,) = DocumentVersion.objects.filter(pk__gt=since)
        until(lambda: DocumentVersion.objects.get(pk=version.pk).error_code == "disk_full", every_s=0.02)
        version.refresh_from_db()
        assert (version.status, version.attempts) == ("queued", 0)
        subprocess.run(["mount", "-o", "remount,size=8m", uploads], check=True)
        kills.await_end()
    assert_whole(kills, since, 1)


def test_without_room_to_store_an_upload_it_is_refused_whole(
    desk: Desk, kills: Kills, mary: httpx.Client, matter: str
) -> None:
    blobs = Path(kills.stack.environment["APPLIANCE_DATA_DIR"]) / "blobs"
    before = blob_files(desk.room)
    with tiny_disk(blobs), nothing_changes(desk.room, mary):
        refused = upload(mary, matter, "wide.txt", b"The spoonbill wades." + b" " * 200_000)
        assert refusal(refused) == (503, "disk_full") and refused.headers["Retry-After"]
    assert blob_files(desk.room) == before
