"""Celery tasks of the accounts."""

from __future__ import annotations

import logging

from celery import shared_task

from appliance.accounts import throttle
from appliance.accounts.directory.sync import sync
from appliance.accounts.session_store import SessionStore
from appliance.audit.record import SYSTEM
from appliance.lib.errors import ApplianceError

log = logging.getLogger(__name__)


@shared_task(name="accounts.sync_directory")
def sync_directory() -> None:
    """Makes accounts and groups what the directory says. What it cannot do is kept for doctor and the people page."""
    try:
        sync(actor=SYSTEM)
    except ApplianceError as error:
        log.warning("directory sync: %s", error.public_code)


@shared_task(name="accounts.tidy")
def tidy() -> None:
    """Removes sessions that ended long ago, and allowances that are full again."""
    SessionStore.clear_expired()
    throttle.forget_old()
