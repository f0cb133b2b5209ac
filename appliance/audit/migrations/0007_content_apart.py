"""Who may read what was asked and answered: an officer whom a second person has allowed it, for as long as that lasts.

The application's role adds texts and reads none, except under an approved request of whoever asks, in its time.
Requests are made by officers for themselves and decided by approvers, never by whoever asked: the rules of the pages, a
second time. Nobody removes a text's row or changes it, except to erase it.
"""

from django.conf import settings
from django.db import migrations

_FUNCTIONS = """
CREATE FUNCTION reading_room_holds(wanted text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM accounts_rolegrant AS r JOIN accounts_user AS u ON u.id = reading_room_principal()
        WHERE u.is_active AND r.role = wanted AND (r.user_id = u.id OR r.group_id IN (
            SELECT m.group_id FROM accounts_user_groups AS m WHERE m.user_id = u.id))
    )
$$;

CREATE FUNCTION audit_content_is_only_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.correlation, NEW.kind, NEW.commitment, NEW.made_at)
            IS DISTINCT FROM (OLD.id, OLD.correlation, OLD.kind, OLD.commitment, OLD.made_at)
        OR NEW.salt IS NOT NULL OR NEW.wrapped_key IS NOT NULL OR NEW.ciphertext IS NOT NULL OR NEW.erased_at IS NULL
    THEN
        RAISE EXCEPTION 'a kept text can only be erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER audit_content_only_erased BEFORE UPDATE ON audit_content
    FOR EACH ROW EXECUTE FUNCTION audit_content_is_only_erased();
CREATE TRIGGER audit_content_stays BEFORE DELETE OR TRUNCATE ON audit_content
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_reveal_stays BEFORE DELETE OR TRUNCATE ON audit_reveal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change();
"""

_ALLOWED = """EXISTS (
    SELECT FROM audit_reveal AS r
    WHERE r.correlation = audit_content.correlation AND r.requested_by = reading_room_principal()
      AND r.approved AND r.decided_by <> r.requested_by AND r.expires_at > statement_timestamp()
)"""
_MINE = "requested_by = reading_room_principal()"
_POLICIES = {
    "audit_content": (
        f"FOR SELECT TO {{people}} USING ({_ALLOWED})",
        "FOR INSERT TO {people} WITH CHECK (erased_at IS NULL)",
    ),
    "audit_reveal": (
        f"FOR SELECT TO {{people}} USING ({_MINE} OR reading_room_holds('content_approver'))",
        f"FOR INSERT TO {{people}} WITH CHECK ({_MINE} AND approved IS NULL AND decided_by IS NULL "
        "AND reading_room_holds('compliance_officer'))",
        "FOR UPDATE TO {people} "
        f"USING (approved IS NULL AND NOT {_MINE} AND reading_room_holds('content_approver')) "
        f"WITH CHECK (decided_by = reading_room_principal() AND NOT {_MINE})",
    ),
}


def on(apps, schema_editor):
    quote = schema_editor.connection.ops.quote_name
    owner = quote(schema_editor.connection.settings_dict["USER"])
    people, workers = quote(settings.DATABASE_PERSON_ROLE), quote(settings.DATABASE_WORKER_ROLE)
    schema_editor.execute(_FUNCTIONS)
    for table, policies in _POLICIES.items():
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"CREATE POLICY owner ON {table} TO {owner} USING (true)")
        if workers != people:
            schema_editor.execute(f"CREATE POLICY worker ON {table} TO {workers} USING (true)")
        for number, policy in enumerate(policies, start=1):
            schema_editor.execute(f"CREATE POLICY person_{number} ON {table} {policy.format(people=people)}")
        for role in {people, workers} - {owner}:
            schema_editor.execute(f"REVOKE DELETE, TRUNCATE ON {table} FROM {role}")
    if people != owner:
        schema_editor.execute(f"REVOKE UPDATE ON audit_content FROM {people}")


def off(apps, schema_editor):
    for table, policies in _POLICIES.items():
        for name in ("owner", "worker", *(f"person_{number}" for number in range(1, len(policies) + 1))):
            schema_editor.execute(f"DROP POLICY IF EXISTS {name} ON {table}")
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        schema_editor.execute(f"DROP TRIGGER {table}_stays ON {table}")
    schema_editor.execute("DROP TRIGGER audit_content_only_erased ON audit_content")
    schema_editor.execute("DROP FUNCTION audit_content_is_only_erased")
    schema_editor.execute("DROP FUNCTION reading_room_holds")


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0006_review_pages"),
        ("accounts", "0005_directory_state"),
        ("documents", "0010_row_level_security"),
    ]
    operations = [migrations.RunPython(on, off)]
