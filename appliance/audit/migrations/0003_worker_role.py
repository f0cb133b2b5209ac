"""The workers' role: rows of every table like the application's, and as little right to change the audit."""

from django.conf import settings
from django.db import migrations

TABLES = ("audit_auditevent", "audit_auditentity")

MISSING = (
    "The database role {role} is missing: run deploy/database-roles.sql again as the database's superuser, "
    "then migrate."
)


def allow(apps, schema_editor):
    quote = schema_editor.connection.ops.quote_name
    owner = schema_editor.connection.settings_dict["USER"]
    for role in {settings.DATABASE_PERSON_ROLE, settings.DATABASE_WORKER_ROLE} - {owner}:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone() is None:
                raise RuntimeError(MISSING.format(role=role))
        # For a database that was set up before there was such a role.
        schema_editor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {quote(role)}")
        schema_editor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {quote(role)}")
        for table in TABLES:
            schema_editor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {quote(role)}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]
    operations = [migrations.RunPython(allow, migrations.RunPython.noop)]
