"""Finding events by who, what, about what and when: one page at a time, newest first, whatever the size of the audit.

A page is found by walking an index in the order in which it is shown, from the key of the page before. Which index
depends on what is asked for:

    things (a document, a collection's documents)   audit_by_entity, once for each thing, then merged; by id
    a person, what they did and what was done       audit_by_actor and audit_by_entity, merged; by time
    people, and perhaps a time                      audit_by_actor, once for each person, then merged; by time
    anything else                                   the planner's choice among the indexes that end in the time

By id and by time are the same order unless a clock was set back. No names here: ids, codes and times alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from appliance.audit.models import AuditEvent, EventType, Outcome
from appliance.lib.errors import BadRequest

#: Any of these things: (kind, ids).
About = tuple[tuple[str, tuple[str, ...]], ...]

#: Where events of a list of things begin is not known yet.
_NEWEST = 2**63 - 1
#: From so many things on, events that are few by themselves are looked through for them.
_MANY = 1_000


class FilterRefused(BadRequest):
    """A value of a filter that means nothing. It is refused rather than left out: what is found would be too much."""

    code = "filter_refused"


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for; everything that is given must hold.

    `actors` acted (any of them; none at all when empty); `without_person` names what acted where no person did.
    `concerns` acted, or it was done to them. `about` each name things of which one must be in the event. `start` is
    included, `end` is not.
    """

    actors: tuple[uuid.UUID, ...] | None = None
    without_person: str = ""
    concerns: uuid.UUID | None = None
    about: tuple[About, ...] = ()
    type: str = ""
    action: str = ""
    outcome: str = ""
    start: datetime | None = None
    end: datetime | None = None
    question: uuid.UUID | None = None

    def __post_init__(self) -> None:
        if self.type and self.type not in EventType.values:
            raise FilterRefused(f"“{self.type}” is no type of event.", hint="Choose one from the list.")
        if self.outcome and self.outcome not in Outcome.values:
            raise FilterRefused(f"“{self.outcome}” is no outcome.", hint="Choose one from the list.")
        if self.start and self.end and self.start >= self.end:
            raise FilterRefused("The time ends before it begins.", hint="Change one of the two dates.")


def page_of(wanted: Filter, *, before: int | None, limit: int) -> list[int]:
    """Ids of up to `limit` matching events, newest first, older than the event with the id `before`.

    Raises FilterRefused when there is no such event.
    """
    sql, parameters = statement(wanted, before=before, limit=limit)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return [row[0] for row in cursor.fetchall()]


def statement(wanted: Filter, *, before: int | None, limit: int) -> tuple[str, dict[str, Any]]:
    """What `page_of` asks of the database."""
    conditions, parameters = _conditions(wanted)
    parameters["limit"] = limit
    key = _key(before)
    if wanted.about and not (_is_narrow(wanted) and sum(len(ids) for _, ids in wanted.about[0]) > _MANY):
        sql = _by_things(wanted, conditions, parameters, key)
    else:
        _must_be_about(wanted.about, conditions, parameters)
        if key is not None:
            conditions.append("(e.recorded_at, e.id) < (%(key_at)s, %(key_id)s)")
            parameters |= {"key_at": key[0], "key_id": key[1]}
        if wanted.concerns is not None:
            sql = _by_person(wanted, conditions, parameters)
        elif wanted.actors is not None and len(wanted.actors) != 1 and not _is_narrow(wanted):
            sql = _by_people(wanted.actors, conditions, parameters)
        else:
            if wanted.actors is not None:
                one = len(wanted.actors) == 1
                conditions.append("e.actor_id = %(actor)s" if one else "e.actor_id = ANY (%(actors)s::uuid[])")
                parameters |= {"actor": wanted.actors[0]} if one else {"actors": list(wanted.actors)}
            sql = f"SELECT e.id FROM audit_auditevent e{_where(conditions)} {_BY_TIME}"
    return sql, parameters


def _is_narrow(wanted: Filter) -> bool:
    """Whether few of all events can match: then those are walked, and not the events of each person or thing."""
    return bool(wanted.question or wanted.outcome not in ("", Outcome.SUCCESS))


_BY_TIME = "ORDER BY e.recorded_at DESC, e.id DESC LIMIT %(limit)s"
_MERGED = "ORDER BY found.recorded_at DESC, found.id DESC LIMIT %(limit)s"


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _key(before: int | None) -> tuple[datetime, int] | None:
    if before is None:
        return None
    at = AuditEvent.objects.filter(pk=before).values_list("recorded_at", flat=True).first()
    if at is None:
        raise FilterRefused("There is no page from there on.", hint="Begin with the newest events again.")
    return at, before


def _conditions(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    """What must hold of an event `e` by itself, apart from who did it."""
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    for name, sql in (
        ("type", "e.type = %(type)s"),
        ("action", "e.action = %(action)s"),
        ("outcome", "e.outcome = %(outcome)s"),
        ("start", "e.recorded_at >= %(start)s"),
        ("end", "e.recorded_at < %(end)s"),
        ("question", "e.correlation = %(question)s"),
    ):
        if value := getattr(wanted, name):
            conditions.append(sql)
            parameters[name] = value
    if wanted.outcome and wanted.outcome != Outcome.SUCCESS:
        conditions.append("e.outcome <> 'success'")  # says to the planner that the partial index will do
    if wanted.without_person:
        conditions.append("e.actor_id IS NULL AND e.actor_name = %(without_person)s")
        parameters["without_person"] = wanted.without_person
    return conditions, parameters


def _by_things(
    wanted: Filter, conditions: list[str], parameters: dict[str, Any], key: tuple[datetime, int] | None
) -> str:
    first, *others = wanted.about
    _must_be_about(others, conditions, parameters)
    if wanted.actors is not None:
        conditions.append("e.actor_id = ANY (%(actors)s::uuid[])")
        parameters["actors"] = list(wanted.actors)
    if wanted.concerns is not None:
        conditions.append(
            "(e.actor_id = %(person)s OR EXISTS (SELECT FROM audit_auditentity p WHERE p.event_id = e.id "
            "AND p.kind = 'user' AND p.object_id = %(person_id)s))"
        )
        parameters |= {"person": wanted.concerns, "person_id": str(wanted.concerns)}
    parameters |= _unnested(first, "") | {"key": key[1] if key else _NEWEST}
    joined = "JOIN audit_auditevent e ON e.id = n.event_id" if conditions else ""
    also = f" AND {' AND '.join(conditions)}" if conditions else ""
    of_thing = f"""
        SELECT DISTINCT n.event_id AS id FROM audit_auditentity n {joined}
        WHERE n.kind = thing.kind AND n.object_id = thing.object_id AND n.event_id < %(key)s{also}
        ORDER BY n.event_id DESC LIMIT
    """
    # Of many things first the newest event of each: only those among the newest of all can have events on the page.
    return f"""
        WITH newest AS MATERIALIZED (
            SELECT thing.kind, thing.object_id, latest.id
            FROM unnest(%(kinds)s::text[], %(ids)s::text[]) AS thing(kind, object_id)
            CROSS JOIN LATERAL ({of_thing} 1) AS latest
        ), thing AS MATERIALIZED (
            SELECT kind, object_id FROM newest WHERE id >= coalesce(
                (SELECT DISTINCT id FROM newest ORDER BY id DESC OFFSET %(limit)s - 1 LIMIT 1), 0)
        )
        SELECT DISTINCT found.id FROM thing CROSS JOIN LATERAL ({of_thing} %(limit)s) AS found
        ORDER BY found.id DESC LIMIT %(limit)s
    """


def _must_be_about(things: Sequence[About], conditions: list[str], parameters: dict[str, Any]) -> None:
    for place, about in enumerate(things):
        conditions.append(
            "EXISTS (SELECT FROM audit_auditentity o WHERE o.event_id = e.id AND (o.kind, o.object_id) IN "
            f"(SELECT * FROM unnest(%(kinds{place})s::text[], %(ids{place})s::text[])))"
        )
        parameters |= _unnested(about, str(place))


def _unnested(about: About, suffix: str) -> dict[str, list[str]]:
    pairs = [(kind, one) for kind, ids in about for one in ids]
    return {f"kinds{suffix}": [kind for kind, _ in pairs], f"ids{suffix}": [one for _, one in pairs]}


def _by_person(wanted: Filter, conditions: list[str], parameters: dict[str, Any]) -> str:
    parameters |= {"person": wanted.concerns, "person_id": str(wanted.concerns)}
    if wanted.actors is not None:
        conditions.append("e.actor_id = ANY (%(actors)s::uuid[])")
        parameters["actors"] = list(wanted.actors)
    return f"""
        SELECT found.id FROM (
            (SELECT e.id, e.recorded_at FROM audit_auditevent e
             {_where([*conditions, "e.actor_id = %(person)s"])} {_BY_TIME})
            UNION
            (SELECT e.id, e.recorded_at FROM audit_auditevent e JOIN audit_auditentity n ON n.event_id = e.id
             {_where([*conditions, "n.kind = 'user'", "n.object_id = %(person_id)s"])}
             GROUP BY e.id, e.recorded_at {_BY_TIME})
        ) AS found {_MERGED}
    """


def _by_people(actors: tuple[uuid.UUID, ...], conditions: list[str], parameters: dict[str, Any]) -> str:
    parameters["actors"] = list(actors)
    of_person = f"""
        SELECT e.id, e.recorded_at FROM audit_auditevent e {_where([*conditions, "e.actor_id = person.id"])}
        ORDER BY e.recorded_at DESC, e.id DESC LIMIT
    """
    # As with many things: only whose newest event is among the newest of all can be on the page.
    return f"""
        WITH newest AS MATERIALIZED (
            SELECT person.id AS person, latest.recorded_at FROM unnest(%(actors)s::uuid[]) AS person(id)
            CROSS JOIN LATERAL ({of_person} 1) AS latest
        ), person AS MATERIALIZED (
            SELECT person AS id FROM newest WHERE recorded_at >= coalesce(
                (SELECT recorded_at FROM newest ORDER BY recorded_at DESC OFFSET %(limit)s - 1 LIMIT 1), '-infinity')
        )
        SELECT found.id FROM person CROSS JOIN LATERAL ({of_person} %(limit)s) AS found {_MERGED}
    """
