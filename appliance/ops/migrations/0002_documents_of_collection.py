"""Which documents a collection holds, for compliance officers, who may read none of them: ids alone."""

from django.db import migrations

DOCUMENTS_OF = """
CREATE FUNCTION reading_room_documents_of(wanted uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT d.id FROM documents_document AS d
    WHERE d.collection_id = wanted AND EXISTS (
        SELECT FROM accounts_rolegrant AS r JOIN accounts_user AS u ON u.id = reading_room_principal()
        WHERE u.is_active AND r.role = 'compliance_officer' AND (r.user_id = u.id OR r.group_id IN (
            SELECT m.group_id FROM accounts_user_groups AS m WHERE m.user_id = u.id))
    )
$$
"""


class Migration(migrations.Migration):
    dependencies = [("ops", "0001_initial"), ("documents", "0010_row_level_security")]
    operations = [migrations.RunSQL(DOCUMENTS_OF, "DROP FUNCTION reading_room_documents_of")]
