"""The directory, sessions that can be listed, second factors, and tokens made for less than everything."""

import uuid

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import appliance.accounts.models


def name_constraint(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        found = schema_editor.connection.introspection.get_constraints(cursor, "accounts_user_groups")
    (old,) = (name for name, one in found.items() if one["unique"] and set(one["columns"]) == {"user_id", "group_id"})
    quote = schema_editor.connection.ops.quote_name
    schema_editor.execute(f"ALTER TABLE accounts_user_groups RENAME CONSTRAINT {quote(old)} TO member_once")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="apitoken",
            name="collections",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), null=True, size=None),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("chat", "Ask questions"),
                        ("search", "Search and read"),
                        ("upload", "Add and change documents"),
                        ("audit", "Read the audit"),
                    ],
                    max_length=10,
                ),
                default=appliance.accounts.models.all_scopes,
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="apitoken",
            name="used_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="group",
            name="directory_id",
            field=models.CharField(max_length=100, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="group",
            name="dn",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="group",
            name="parents",
            field=models.ManyToManyField(blank=True, related_name="nested", to="accounts.group"),
        ),
        migrations.AddField(
            model_name="user",
            name="directory_id",
            field=models.CharField(max_length=100, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="user",
            name="dn",
            field=models.TextField(blank=True),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="Membership",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                            ),
                        ),
                        ("direct", models.BooleanField(db_default=True, default=True)),
                        ("group", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="accounts.group")),
                        (
                            "user",
                            models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL),
                        ),
                    ],
                    options={
                        "db_table": "accounts_user_groups",
                    },
                ),
                migrations.AlterField(
                    model_name="user",
                    name="groups",
                    field=models.ManyToManyField(
                        blank=True, related_name="members", through="accounts.Membership", to="accounts.group"
                    ),
                ),
                migrations.AddConstraint(
                    model_name="membership",
                    constraint=models.UniqueConstraint(fields=("user", "group"), name="member_once"),
                ),
            ],
            # The table was there already, as Django makes it for a plain relation.
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE accounts_user_groups ADD COLUMN direct boolean DEFAULT true NOT NULL",
                    "ALTER TABLE accounts_user_groups DROP COLUMN direct",
                ),
                migrations.RunPython(name_constraint, migrations.RunPython.noop),
            ],
        ),
        migrations.CreateModel(
            name="SecondFactor",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("totp", "Authenticator app"),
                            ("webauthn", "Security key"),
                            ("recovery", "Recovery code"),
                        ],
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("sealed", models.BinaryField()),
                ("credential_id", models.BinaryField(max_length=1024, null=True, unique=True)),
                ("counter", models.BigIntegerField(default=0)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="second_factors",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key"),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("address", models.CharField(blank=True, max_length=64)),
                ("user_agent", models.CharField(blank=True, max_length=200)),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "abstract": False,
            },
        ),
    ]
