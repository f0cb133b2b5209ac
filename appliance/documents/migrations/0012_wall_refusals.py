"""Which walls keep whoever is asking out of something: for the audit of a refusal that itself says nothing."""

from django.db import migrations

WALLS = """
CREATE FUNCTION reading_room_walls(wanted_document uuid, wanted_collection uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH RECURSIVE line AS (
        SELECT d.id, d.parent_id, d.collection_id, 0 AS depth FROM documents_document AS d WHERE d.id = wanted_document
        UNION ALL
        SELECT d.id, d.parent_id, d.collection_id, l.depth + 1
        FROM line AS l JOIN documents_document AS d ON d.id = l.parent_id WHERE l.depth < 3
    )
    SELECT DISTINCT g.wall_id FROM documents_grant AS g
    WHERE g.wall_id IS NOT NULL AND g.effect = 'deny'
      AND (g.user_id = reading_room_principal() OR g.group_id IN (
            SELECT m.group_id FROM accounts_user_groups AS m WHERE m.user_id = reading_room_principal()))
      AND (g.document_id IN (SELECT id FROM line) OR g.collection_id IN (SELECT collection_id FROM line)
           OR g.collection_id = wanted_collection)
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("documents", "0011_walls")]
    operations = [migrations.RunSQL(WALLS, "DROP FUNCTION reading_room_walls")]
