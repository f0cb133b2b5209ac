"""What the superuser changes behind the appliance's back is named, with its place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from seal_bench import Bench
from tampering import (
    Attack,
    as_attacker,
    cut,
    delete_event,
    delete_leaf,
    edit,
    event_at,
    insert_event,
    insert_leaf,
    seal_all,
    sealed_log,
    swap,
    write,
)

from appliance.audit import keys
from appliance.audit.notes import Checkpoint, PrivateKey
from appliance.audit.verifier import Report
from appliance.audit.verifying import Tiles, verify_database
from appliance.ops.environment import REPOSITORY

Found = list[tuple[str, int, int | None]]


@pytest.fixture
def log(bench: Bench, key: PrivateKey) -> Bench:
    """A sealed log of 610 events."""
    sealed_log(bench, key)
    return bench


def checked(bench: Bench, **how: Any) -> Report:
    with bench.connect("worker", autocommit=False) as connection:
        connection.rollback()
        return verify_database(connection, **how)


def found(bench: Bench, **how: Any) -> Found:
    return [(each.code, each.position, each.end) for each in checked(bench, **how).findings]


def newest_note(bench: Bench) -> str:
    with bench.connect("app") as app:
        row = app.execute("SELECT note FROM audit_checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    assert row is not None
    return str(row[0])


def test_an_untouched_log_is_sound_with_what_is_not_sealed_yet(log: Bench, key: PrivateKey) -> None:
    with log.connect("app") as app:
        write(app, 610)
    report = checked(log, key=str(key.public), columns=True, outside={"usb": newest_note(log)})
    assert report.sound, report.findings
    assert (report.size, report.checked, report.unsealed, report.checkpoints) == (610, 610, 1, 5)
    read = Checkpoint.parse(newest_note(log).partition("\n\n")[0] + "\n")
    assert report.root == read.root.hex() and f"time {report.verified_until}" in read.extra


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        pytest.param(edit(17), [("event_edited", 17, None)], id="an event edited"),
        pytest.param(edit(17, fingerprint=True), [("event_replaced", 17, None)], id="with its fingerprint"),
        pytest.param(edit(605), [("event_edited", 605, None)], id="edited where there is no tile yet"),
        pytest.param(edit(605, fingerprint=True), [("root_differs", 600, 610)], id="with its fingerprint, no tile"),
        pytest.param(edit(400, fingerprint=True, tile=True), [("root_differs", 300, 520)], id="with the tile too"),
        pytest.param(delete_event(33), [("event_deleted", 33, None)], id="an event deleted"),
        pytest.param(delete_leaf(33), [("leaf_deleted", 33, None)], id="with its leaf"),
        pytest.param(swap(40, 41), [("events_swapped", 40, None), ("events_swapped", 41, None)], id="two swapped"),
        pytest.param(swap(602, 607), [("root_differs", 600, 610)], id="two swapped, no tile"),
        pytest.param(insert_event(0), [("event_inserted", 0, None)], id="an event put in without a leaf"),
        pytest.param(insert_leaf, [("leaves_unsigned", 610, 611)], id="a leaf put in behind the end"),
        pytest.param(cut(555, heads=False), [("tail_missing", 555, 610)], id="the tail cut off"),
    ],
)
def test_an_attack_is_named_with_its_place(log: Bench, attack: Attack, expected: Found) -> None:
    with as_attacker(log) as superuser:
        attack(superuser)
    assert found(log) == expected


def test_a_leaf_removed_and_the_gap_closed(log: Bench) -> None:
    with as_attacker(log) as superuser:
        delete_leaf(33, renumber=True)(superuser)
    named = found(log)
    assert ("event_deleted", 33, 512) in named and ("tail_missing", 609, 610) in named
    assert not [each for each in named if each[1] < 33 and each[0] != "root_differs"]


def test_an_old_backup_is_shown_by_a_checkpoint_that_left(log: Bench) -> None:
    outside = {"usb": newest_note(log)}
    with as_attacker(log) as superuser:
        cut(520, heads=True)(superuser)
    assert found(log) == []
    assert found(log, outside=outside) == [("older_than_checkpoint", 520, 610)]


def test_a_history_written_anew_with_the_key_is_shown_by_a_checkpoint_that_left(log: Bench, key: PrivateKey) -> None:
    outside = {"usb": newest_note(log)}
    with as_attacker(log) as superuser:
        cut(520, heads=True)(superuser)
        for number in range(520, 630):
            write(superuser, -number)
    seal_all(log, key)
    assert found(log) == []
    assert found(log, outside=outside) == [("history_forked", 520, 610)]


def test_wrong_signatures_and_keys_are_named(log: Bench, key: PrivateKey) -> None:
    stranger = PrivateKey.make(key.name)
    head = Checkpoint.parse(newest_note(log).partition("\n\n")[0] + "\n")
    forged = newest_note(log).replace("time 2", "time 1")
    with as_attacker(log) as superuser:
        for note, code in ((head.signed(stranger), "key_unknown"), (forged, "signature_wrong")):
            superuser.execute("UPDATE audit_checkpoint SET note = %s WHERE size = 610", (note,))
            assert found(log) == [("leaves_unsigned", 600, 610), (code, 610, None)]
        superuser.execute("UPDATE audit_checkpoint SET note = 'none' WHERE size = 610")
        assert found(log)[0] == ("checkpoint_unreadable", 0, None)
        superuser.execute("UPDATE audit_checkpoint SET note = %s WHERE size = 610", (head.signed(key),))
        assert found(log, key=str(key.public)) == []
        assert found(log, key=str(stranger.public))[0] == ("key_unknown", 0, None)
        statement = keys.statement(key.name, stranger.public, 610, stranger)
        superuser.execute(
            "INSERT INTO audit_sealkey (name, public_key, statement, since_size, made_at) "
            "VALUES (%s, %s, %s, 610, now())",
            (key.name, str(stranger.public), statement),
        )
        assert found(log) == [("key_chain_broken", 0, None)]


def test_keys_that_follow_each_other_are_sound(log: Bench, key: PrivateKey) -> None:
    new = PrivateKey.make(key.name)
    with log.connect("sealer") as sealer, log.connect("app") as app:
        keys.rotate(sealer, key, new, 610)
        write(app, 611)
    assert seal_all(log, new).size == 611
    assert found(log, key=str(key.public)) == []


def test_tiles_are_told_from_events(log: Bench) -> None:
    with as_attacker(log) as superuser:
        superuser.execute("UPDATE audit_tile SET hashes = overlay(hashes PLACING '\\x00' FROM 65) WHERE index = 1")
        assert found(log) == [("tile_damaged", 258, None)]
        superuser.execute("DELETE FROM audit_tile WHERE index = 1")
        assert found(log) == [("tile_damaged", 256, 512)]


def test_columns_and_entities_are_held_against_the_event(log: Bench) -> None:
    with as_attacker(log) as superuser:
        one, other, third = (event_at(superuser, index) for index in (5, 77, 78))
        superuser.execute("UPDATE audit_auditevent SET actor_name = 'bob', type = 'upload' WHERE id = %s", (one,))
        superuser.execute("UPDATE audit_auditentity SET page = 6 WHERE event_id = %s", (other,))
        superuser.execute("DELETE FROM audit_auditentity WHERE event_id = %s", (third,))
        superuser.execute(
            "INSERT INTO audit_auditentity (event_id, kind, object_id) VALUES (0, 'document', 'of no event')"
        )
    assert found(log) == []
    report = checked(log, columns=True)
    assert [(each.code, each.position) for each in report.findings] == [
        ("entities_differ", 0),
        ("columns_differ", 5),
        ("entities_differ", 77),
        ("entities_differ", 78),
    ]
    assert "actor_name" in report.findings[1].message and "type" in report.findings[1].message


def test_tiles_are_read_some_at_a_time(log: Bench) -> None:
    with log.connect("worker") as connection:
        tiles = Tiles(connection, ahead=1)
        assert [tiles(0, index) is not None for index in range(4)] == [True, True, False, False]
        assert tiles(1, 0) is None


def test_the_command_says_what_it_found_by_its_exit_status(log: Bench, key: PrivateKey, tmp_path: Path) -> None:
    def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "manage.py", "verify_audit", "--json", *arguments],
            env=environment or log.environment,
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, json.loads(done.stdout.splitlines()[-1])

    note = tmp_path / "checkpoint"
    note.write_text(newest_note(log))
    status, told = run("--key", str(key.public), "--checkpoint", str(note), "--columns")
    assert (status, told["sound"], told["size"], told["findings"]) == (0, True, 610, [])
    with as_attacker(log) as superuser:
        edit(300)(superuser)
    status, told = run()
    assert status == 1 and told["sound"] is False
    assert [(each["code"], each["position"]) for each in told["findings"]] == [("event_edited", 300)]
    assert run("--checkpoint", str(tmp_path / "none"))[0] == 2
