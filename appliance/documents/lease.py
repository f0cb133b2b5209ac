"""A lease on a version: who works on it says so in its row, renews it while alive, and loses it when dead."""

from __future__ import annotations

import logging
import threading
import uuid
from datetime import timedelta
from types import TracebackType

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from appliance.documents.models import UNFINISHED, DocumentVersion, UploadItem

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Someone else took the version over, or it is gone. Nothing more may be written for it."""


class Lease:
    """Claims one version for one worker.

        with Lease.claim(version_id) as lease:   # None when there is nothing to do
            ...
            lease.check()                        # raises LeaseLost; call inside the transaction that writes

    A background thread renews the lease every third of its length, so it outlives slow files and not dead workers.
    """

    def __init__(self, version_id: int, token: uuid.UUID, attempts: int) -> None:
        self.version_id = version_id
        self.token = token
        self.attempts = attempts
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease-{version_id}", daemon=True)

    @classmethod
    def claim(cls, version_id: int) -> Lease | None:
        """The lease, or None when the version is finished, gone, held, or leased by someone alive."""
        token = uuid.uuid4()
        claimed = (
            DocumentVersion.objects.filter(pk=version_id, status__in=UNFINISHED)
            .filter(~held(), Q(lease_until__isnull=True) | Q(lease_until__lt=Now()))
            .update(lease_token=token, lease_until=_expiry(), attempts=F("attempts") + 1)
        )
        if not claimed:
            return None
        attempts = DocumentVersion.objects.values_list("attempts", flat=True).get(pk=version_id)
        return cls(version_id, token, attempts)

    def mine(self) -> Q:
        """The condition under which this lease may still write."""
        return Q(pk=self.version_id, lease_token=self.token, status__in=UNFINISHED)

    def check(self) -> None:
        """Locks the row and makes sure it is still ours. Raises LeaseLost.

        The lock lets others point at the row: who chooses a current version waits for nobody that reads one.
        """
        if not DocumentVersion.objects.select_for_update(no_key=True).filter(self.mine()).exists():
            raise LeaseLost(f"version {self.version_id}")

    def update(self, **fields: object) -> None:
        """Writes fields of the version, renewing the lease. Raises LeaseLost."""
        if not DocumentVersion.objects.filter(self.mine()).update(lease_until=_expiry(), **fields):
            raise LeaseLost(f"version {self.version_id}")

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        try:
            while not self._ended.wait(settings.INGEST_LEASE_S / 3):
                try:
                    DocumentVersion.objects.filter(self.mine()).update(lease_until=_expiry())
                except DatabaseError as error:
                    log.warning("lease of version %d not renewed: %s", self.version_id, type(error).__name__)
                finally:
                    connection.close()
        finally:
            connection.close()


def held() -> Exists:
    """The condition on versions under which they wait although a worker is free: their upload is paused."""
    paused = UploadItem.objects.filter(
        version=OuterRef("pk"), known=False, batch__paused_at__isnull=False, batch__cancelled_at=None
    )
    return Exists(paused)


def _expiry() -> object:
    """Database time, so that workers' clocks do not matter."""
    return Now() + timedelta(seconds=settings.INGEST_LEASE_S)
