"""What is up and what is not, in words an administrator can act on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, connections
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from appliance.accounts.directory import state as directory_state
from appliance.celery import app
from appliance.documents import antivirus
from appliance.lib.errors import ApplianceError, DirectoryUnavailable
from appliance.llm import client
from appliance.ops.models import Pulse

Part = dict[str, str]
_PULSE_AFTER_S = 45


def check() -> dict[str, Part]:
    """Each part's `status` ("ok", "down", or "off" where the site has none) and `detail`.

    Asked at once, each bounded to a few seconds.
    """
    parts: dict[str, Callable[[], Part]] = {
        "database": _database,
        "queue": _queue,
        "workers": _workers,
        "model": _model,
        "reranker": _reranker,
        "scanner": _scanner,
        "directory": _directory,
    }
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        asked = {name: pool.submit(_contained, part) for name, part in parts.items()}
        return {name: future.result() for name, future in asked.items()}


def is_well(part: Part) -> bool:
    """Whether nothing is wrong with a part: it answers, or the site has none."""
    return part["status"] in ("ok", "off")


def _contained(part: Callable[[], Part]) -> Part:
    try:
        return part()
    except DatabaseError:
        return {"status": "down", "detail": "The database is not answering."}
    except (BrokerError, OSError):
        return {"status": "down", "detail": "The work queue is not answering. Uploads are kept and wait."}
    except ApplianceError as error:
        return {"status": "down", "detail": error.message}
    finally:
        connections.close_all()


def _database() -> Part:
    with connection.cursor() as cursor:
        cursor.execute("SELECT version()")
        return {"status": "ok", "detail": str(cursor.fetchone()[0]).split(" on ")[0]}


def _queue() -> Part:
    with app.connection_for_read() as broker:
        broker.ensure_connection(max_retries=1, timeout=2)
    return {"status": "ok", "detail": "Redis answers."}


def _workers() -> Part:
    last = Pulse.objects.filter(name="workers").first()
    if last is None or timezone.now() - last.at > timedelta(seconds=_PULSE_AFTER_S):
        return {"status": "down", "detail": "No worker has finished a task lately. Uploads wait until one does."}
    return {"status": "ok", "detail": f"Last task finished at {timezone.localtime(last.at):%H:%M:%S}."}


def _scanner() -> Part:
    if not antivirus.is_on():
        return {"status": "off", "detail": "No virus scanner is set (APPLIANCE_CLAMD). Files are not scanned."}
    version, _, signatures = antivirus.version().partition("/")
    dated = f", signatures {signatures.replace('/', ' of ', 1)}" if signatures else ""
    return {"status": "ok", "detail": f"{version}{dated}. Every file is scanned before it is read."}


def _directory() -> Part:
    if settings.DIRECTORY is None:
        return {"status": "off", "detail": "No directory is set (APPLIANCE_LDAP_URL). Accounts are local."}
    from appliance.accounts.directory.connection import connected  # python-ldap is there only with a directory

    try:
        with connected(settings.DIRECTORY, timeout_s=settings.DIRECTORY.timeout_s):
            pass
    except DirectoryUnavailable as error:
        return {"status": "down", "detail": error.cause}
    state = directory_state.current()
    if state is None or state.synced_at is None:
        return {"status": "ok", "detail": "The directory answers. It has not been synced yet."}
    if state.problem:
        return {"status": "ok", "detail": f"The directory answers. The last sync changed nothing: {state.problem}"}
    conflicts = len(state.report.get("conflicts", ()))
    left = f" Entries left alone: {conflicts}. See People." if conflicts else ""
    return {"status": "ok", "detail": f"Last synced at {timezone.localtime(state.synced_at):%H:%M:%S}.{left}"}


def _model() -> Part:
    state = client.health()
    if state.get("http_status") != 200:
        return {"status": "down", "detail": "The model server is still starting."}
    return {"status": "ok", "detail": f"Answers come from {settings.CHAT_MODEL or state.get('engine', 'the model')}."}


def _reranker() -> Part:
    if not settings.RERANKER:
        return {"status": "off", "detail": "No reranker is set (APPLIANCE_RERANKER). Passages are ranked without one."}
    if client.health().get("reranker") != settings.RERANKER:
        detail = f"The model server has no reranker named {settings.RERANKER}. Search goes on without it."
        return {"status": "off", "detail": detail}
    return {"status": "ok", "detail": f"{settings.RERANKER} reads the best passages again."}
