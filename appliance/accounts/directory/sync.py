"""The periodic sync: adds, renames and disables accounts and groups so that they are what the directory says."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from appliance.accounts.directory import applying, state
from appliance.accounts.directory.comparing import Accounts, Difference, compare
from appliance.accounts.directory.entries import Snapshot
from appliance.accounts.directory.options import configured
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Event, record
from appliance.lib.errors import Conflict, DirectoryUnavailable, NotFound

log = logging.getLogger(__name__)

_ALWAYS_ALLOWED = 5  # may go at once whatever the share
_LOCK = 7_301_945  # any number that no other lock has


class SyncRefused(Conflict):
    """More would be switched off at once than the site allows: more likely a wrong filter than so many leavers."""

    code = "too_many_at_once"
    default_hint = (
        "Check APPLIANCE_LDAP_USER_FILTER and the bases with --dry-run. If they are right, run it once with --force."
    )


def sync(*, dry_run: bool = False, force: bool = False, actor: Actor) -> dict[str, Any]:
    """Reads the directory and makes the accounts the same, in one transaction. Returns the report.

    Raises NotFound (`no_directory`), DirectoryUnavailable, and SyncRefused unless `force`.
    """
    if settings.DIRECTORY is None:
        raise NotFound("No directory is set.", hint="Set APPLIANCE_LDAP_URL and its companions.", code="no_directory")
    from appliance.accounts.directory import reading  # python-ldap is there only where there is a directory

    try:
        with transaction.atomic():
            with connection.cursor() as cursor:  # what was read first must not be written last
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            found = reading.read(settings.DIRECTORY)
            known = applying.known()
            difference = compare(found, known)
            refused = _refusal(found, known, difference)
            report = _report(difference, known) | {"dry_run": dry_run, "refused": refused}
            if not dry_run and (force or not refused):
                applying.apply(difference, actor=actor)
                record(Event(EventType.ACCOUNT, "directory.sync", detail=difference.counts()), actor=actor)
                state.synced(_summary(report))
                return report | {"applied": True}
    except DirectoryUnavailable as error:
        state.not_reached(error.cause)
        raise
    if refused and not dry_run:
        with transaction.atomic():
            detail = difference.counts() | {"code": SyncRefused.code}
            record(Event(EventType.ACCOUNT, "directory.sync", Outcome.REFUSED, detail=detail), actor=actor)
            state.synced(_summary(report), problem=refused)
        log.error("directory sync refused: %s", refused)
        raise SyncRefused(refused)
    return report | {"applied": False}


def _refusal(found: Snapshot, known: Accounts, difference: Difference) -> str:
    """Why this sync needs a person's word, empty when it does not."""
    percent = configured(settings.DIRECTORY).disable_limit_percent
    active = sum(person.active for person in known.people.values())
    present = sum(bool(group.dn) for group in known.groups.values())
    for what, losing, of, left in (
        ("people", len(difference.disable), active, len(found.people)),
        ("groups", len(difference.lose_groups), present, len(found.groups)),
    ):
        share = of * percent // 100
        if losing and not left:
            return f"The directory shows no {what} at all, and {losing} are known."
        if losing > max(_ALWAYS_ALLOWED, share):
            return f"{losing} of {of} {what} would be switched off at once."
    return ""


def _report(difference: Difference, known: Accounts) -> dict[str, Any]:
    """The difference by names, for the command and the page."""
    people = {own: person.username for own, person in known.people.items()}
    people |= {person.directory_id: person.username for person in difference.add_people}
    groups = {own: group.name for own, group in known.groups.items()}
    groups |= {group.directory_id: group.name for group in difference.add_groups}
    touched = sorted({*difference.join, *difference.leave}, key=groups.__getitem__)
    return {
        "counts": difference.counts(),
        "people": {
            "add": sorted(person.username for person in difference.add_people),
            "rename": sorted(difference.renamed.values()),
            "enable": sorted(people[own] for own in difference.enable),
            "disable": sorted(people[own] for own in difference.disable),
        },
        "groups": {
            "add": sorted(group.name for group in difference.add_groups),
            "rename": sorted(difference.regrouped.values()),
            "gone": sorted(groups[own] for own in difference.lose_groups),
        },
        "memberships": [
            {
                "group": groups[own],
                "join": sorted(people[person] for person in difference.join.get(own, ())),
                "leave": sorted(people[person] for person in difference.leave.get(own, ())),
            }
            for own in touched
        ],
        "conflicts": difference.conflicts,
        "cycles": difference.cycles,
    }


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept for the page: figures, and the entries somebody has to look at."""
    return {"counts": report["counts"], "conflicts": report["conflicts"][:50], "cycles": report["cycles"][:50]}
