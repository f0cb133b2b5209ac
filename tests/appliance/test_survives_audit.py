"""Each part is killed once while people search and ask; then the whole audit is gone through.

`make soak-audit` does it twenty times.
"""

from __future__ import annotations

from typing import cast

from appliance_desk import Room
from django.db import connections

from benchmarks import room as benchmark_room
from benchmarks.soak_audit import PARTS, soak


def test_no_answer_without_its_record_and_the_log_is_sound(django_room: Room) -> None:
    try:
        found = soak(cast(benchmark_room.Room, django_room), rounds=len(PARTS))
    finally:
        connections.close_all()
    assert found["faults"] == [] and found["sound"]
    assert found["kills"] == dict.fromkeys(PARTS, 1)
    assert found["answered"]["search"] and found["answered"]["answer"]
