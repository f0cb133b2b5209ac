"""The pulse of the background work, which the status page calls "Workers"; and its looks at the audit."""

from __future__ import annotations

from celery import shared_task
from celery.signals import worker_ready
from django.db.models.functions import Now

from appliance.audit import alerting, checking, orphans
from appliance.celery import app
from appliance.ops.models import Pulse


@shared_task(name="ops.pulse")
def pulse() -> None:
    """Shows that a task went all the way from the scheduler through the broker to a worker and the database."""
    Pulse.objects.update_or_create(name="workers", defaults={"at": Now()})


@shared_task(name="ops.watch_audit")
def watch_audit() -> None:
    """Has the rules for alerts look at what is new in the audit."""
    alerting.do_watch()


@shared_task(name="ops.verify_audit")
def verify_audit() -> None:
    """Computes everything sealed once more, and keeps what was found."""
    checking.do_check()


@shared_task(name="ops.close_intents")
def close_intents() -> None:
    """Records as cut off what a killed process began and did not end."""
    orphans.do_close()


@worker_ready.connect
def _first_looks(**_: object) -> None:
    app.send_task("ops.pulse", queue="jobs")
    app.send_task("ops.verify_audit", queue="jobs")
