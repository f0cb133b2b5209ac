"""Refusals that a wall caused, for the audit. Whoever is refused is told what they would be told of nothing at all."""

from __future__ import annotations

import uuid

from django.db import connection

from appliance.accounts.models import User
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record


def note_refusal(user: User, *, document_id: uuid.UUID | None = None, collection_id: uuid.UUID | None = None) -> None:
    """Records that `user` asked for something behind a wall that keeps them out. Without a wall nothing is recorded.

    The database is asked: the application's role itself cannot see what is behind the wall.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT reading_room_walls(%s, %s)", [document_id, collection_id])
        walls = [str(row[0]) for row in cursor.fetchall()]
    if not walls:
        return
    named = Entity("document", str(document_id)) if document_id else Entity("collection", str(collection_id))
    entities = (named, *(Entity("wall", wall) for wall in sorted(walls)))
    actor = Actor(user_id=user.pk, name=user.username)  # the request id leads to the rest
    record(Event(EventType.REFUSAL, "wall.refused", Outcome.REFUSED, entities=entities), actor=actor)
