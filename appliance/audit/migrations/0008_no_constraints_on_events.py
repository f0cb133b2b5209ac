"""An event's entities and its leaf go in without a constraint: nobody can remove an event, so it would only cost."""

import django.db.models.deletion
from django.db import migrations, models

_EVENT = {"on_delete": django.db.models.deletion.PROTECT, "to": "audit.auditevent", "db_constraint": False}


class Migration(migrations.Migration):
    dependencies = [("audit", "0007_content_apart")]
    operations = [
        migrations.AlterField("auditentity", "event", models.ForeignKey(related_name="entities", **_EVENT)),
        migrations.AlterField("leaf", "event", models.OneToOneField(related_name="leaf", **_EVENT)),
    ]
