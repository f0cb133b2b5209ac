"""Who may write what seals the audit: the sealer's role alone adds, and nobody changes or removes."""

from django.conf import settings
from django.db import migrations

SEALED = ("audit_leaf", "audit_tile", "audit_sealkey", "audit_checkpoint")
KEPT = (*SEALED, "audit_delivery", "audit_cosignature")
SEALER = "reading_room_sealer"

MISSING = (
    f"The database role {SEALER} is missing: run deploy/database-roles.sql again as the database's superuser, "
    "then migrate."
)


def allow(apps, schema_editor):
    quote = schema_editor.connection.ops.quote_name
    owner = schema_editor.connection.settings_dict["USER"]
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", [SEALER])
        if cursor.fetchone() is None:
            raise RuntimeError(MISSING)
    for table in KEPT:
        schema_editor.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        )
        for role in {settings.DATABASE_PERSON_ROLE, settings.DATABASE_WORKER_ROLE} - {owner}:
            schema_editor.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {quote(role)}")
            if table in SEALED:
                schema_editor.execute(f"REVOKE INSERT ON {table} FROM {quote(role)}")
    # Of an event it learns the place and the fingerprint, not what happened.
    schema_editor.execute(f"GRANT SELECT (id, recorded_at, leaf_hash, xid) ON audit_auditevent TO {SEALER}")
    schema_editor.execute(f"GRANT SELECT, INSERT ON {', '.join(KEPT)} TO {SEALER}")
    for table in ("audit_tile", "audit_sealkey", "audit_checkpoint", "audit_delivery"):
        schema_editor.execute(f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {SEALER}")


def forbid(apps, schema_editor):
    for table in KEPT:
        schema_editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    schema_editor.execute(f"REVOKE ALL ON audit_auditevent, {', '.join(KEPT)} FROM {SEALER}")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_seal_review_reveal")]
    operations = [migrations.RunPython(allow, forbid)]
