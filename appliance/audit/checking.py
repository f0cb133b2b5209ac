"""Everything sealed, computed once more by the clock and when an officer asks; what was found is kept.

The appliance looks at itself here. Proof for others is the standalone verifier over an export, with checkpoints that
left the machine.
"""

from __future__ import annotations

from django.db import connection, transaction

from appliance.audit.database import connect
from appliance.audit.models import EventType, Outcome, Verification
from appliance.audit.record import SYSTEM, Event, record
from appliance.audit.verifier import CannotRun, Report
from appliance.audit.verifying import verify_database

_LOCK = 0x5EA1C4EC
#: How many sound checks are kept; those that found damage are all kept.
KEPT = 1_000


def do_check() -> Verification | None:
    """Looks at everything up to the newest checkpoint and keeps what was found.

    None while another check runs, and while nothing is sealed. Raises a database error.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
            if not cursor.fetchone()[0]:
                return None
        try:
            with connect() as reading:
                report = verify_database(reading)
        except CannotRun:
            return None
        return _keep(report)


def _keep(report: Report) -> Verification:
    first = report.findings[0] if report.findings else None
    problem = f"{first.code} at {first.position:,}: {first.message}" if first else ""
    kept = Verification.objects.create(size=report.size, sound=report.sound, problem=problem[:500])
    if not report.sound:
        detail = {"size": str(report.size), "sound": False, "findings": len(report.findings) + report.more}
        record(Event(EventType.REVIEW, "audit.verify", Outcome.FAILED, detail=detail), actor=SYSTEM)
    old = Verification.objects.filter(sound=True).order_by("-at").values_list("pk", flat=True)[KEPT:]
    Verification.objects.filter(pk__in=list(old)).delete()
    return kept


def latest() -> Verification | None:
    """What the last check found."""
    return Verification.objects.order_by("-at").first()
