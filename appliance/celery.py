"""The Celery application: `celery -A appliance.celery worker`. The broker carries ids; rows carry the state."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun, worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "appliance.settings")

app = Celery("appliance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def _needs_its_own_role(**_: Any) -> None:
    """As the application's role a worker would find no file to read, and say nothing."""
    from django.conf import settings

    if settings.DATABASE_WORKER_ROLE == settings.DATABASE_PERSON_ROLE:
        raise SystemExit("APPLIANCE_DATABASE_WORKER_URL: not set. Workers need a database role of their own.")


@task_prerun.connect
def _say_where(task: Any = None, **_: Any) -> None:
    from appliance.lib import place

    place.enter(f"task {task.name}")
