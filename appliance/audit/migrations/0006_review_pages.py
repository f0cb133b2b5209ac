"""Review pages: indexes in the order in which they are read, what was verified, how far alerts have looked, and
signed reviews that stay as they are."""

import django.utils.timezone
from django.db import migrations, models

KEEP_SIGNED = """
CREATE FUNCTION audit_keep_signed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a signed review stays as it is' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_review_signed BEFORE UPDATE OR DELETE ON audit_review
FOR EACH ROW WHEN (OLD.signed_at IS NOT NULL) EXECUTE FUNCTION audit_keep_signed();
"""
FORGET_SIGNED = "DROP TRIGGER audit_review_signed ON audit_review; DROP FUNCTION audit_keep_signed();"

# On a site that has events already the rules begin with those to come.
BEGIN = """
INSERT INTO audit_watermark (name, cluster, xid, event)
SELECT 'alerts', (SELECT system_identifier::text FROM pg_control_system()),
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint, coalesce(max(id), 0) FROM audit_auditevent
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0005_sealer_role"),
    ]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("size", models.BigIntegerField()),
                ("sound", models.BooleanField()),
                ("problem", models.CharField(blank=True, max_length=500)),
            ],
        ),
        migrations.CreateModel(
            name="Watermark",
            fields=[
                ("name", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("cluster", models.CharField(max_length=40)),
                ("xid", models.BigIntegerField()),
                ("event", models.BigIntegerField()),
            ],
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_actor",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_type",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_outcome",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="audit_by_action",
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor_id", "-recorded_at", "-id"], name="audit_by_actor"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["type", "-recorded_at", "-id"], name="audit_by_type"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(
                condition=models.Q(("outcome", "success"), _negated=True),
                fields=["outcome", "-recorded_at", "-id"],
                name="audit_by_outcome",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["action", "-recorded_at", "-id"], name="audit_by_action"),
        ),
        migrations.AddIndex(
            model_name="verification",
            index=models.Index(fields=["-at"], name="audit_verified_latest"),
        ),
        migrations.RunSQL(KEEP_SIGNED, FORGET_SIGNED),
        migrations.RunSQL(BEGIN, migrations.RunSQL.noop),
    ]
