"""The second lock: what a person may not see, the database does not give the application's role.

    reading_room_enter(person, only)   once per transaction: reads the person's grants in force and keeps, until the
                                       transaction ends, which collections and documents they open and close; with
                                       `only`, within those collections (a token can be made for some)
    policies                           documents by those sets; versions by their document; all else by its version

The rule is that of `documents/querysets.py`, written a second time on purpose: a fault in one does not open the other.
Workers and migrations have policies of their own that let them see every row.
"""

from django.db import migrations

from appliance.lib.guarded.locking import lock, unlock

ENTER = """
CREATE FUNCTION reading_room_enter(person uuid, only_collections uuid[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    opened record;
BEGIN
    WITH RECURSIVE mine AS MATERIALIZED (
        -- Many grants say the same of few things: what follows reads each thing once.
        SELECT DISTINCT g.collection_id, g.document_id, g.effect, g.role
        FROM documents_grant AS g
        WHERE (g.user_id = person
               OR g.group_id IN (SELECT m.group_id FROM accounts_user_groups AS m WHERE m.user_id = person))
          AND (g.starts_at IS NULL OR g.starts_at <= statement_timestamp())
          AND (g.ends_at IS NULL OR g.ends_at > statement_timestamp())
          AND EXISTS (SELECT FROM accounts_user AS u WHERE u.id = person AND u.is_active)
    ), named AS (
        SELECT document_id AS id, effect, 0 AS depth FROM mine WHERE document_id IS NOT NULL
        UNION
        SELECT d.id, n.effect, n.depth + 1
        FROM named AS n JOIN documents_document AS d ON d.parent_id = n.id WHERE n.depth < 3
    )
    SELECT (SELECT array_agg(DISTINCT collection_id) FROM mine
            WHERE effect = 'allow' AND collection_id IS NOT NULL
              AND (only_collections IS NULL OR collection_id = ANY (only_collections))
           ) AS open_collections,
           (SELECT array_agg(DISTINCT collection_id) FROM mine
            WHERE effect = 'deny' AND collection_id IS NOT NULL) AS shut_collections,
           (SELECT array_agg(DISTINCT collection_id) FROM mine
            WHERE effect = 'allow' AND role <> 'reader' AND collection_id IS NOT NULL) AS own_collections,
           (SELECT array_agg(DISTINCT n.id) FROM named AS n JOIN documents_document AS d ON d.id = n.id
            WHERE n.effect = 'allow' AND (only_collections IS NULL OR d.collection_id = ANY (only_collections))
           ) AS open_documents,
           (SELECT array_agg(DISTINCT id) FROM named WHERE effect = 'deny') AS shut_documents
    INTO opened;
    PERFORM set_config('reading_room.principal', coalesce(person::text, ''), true),
            set_config('reading_room.open_collections', coalesce(opened.open_collections::text, '{}'), true),
            set_config('reading_room.shut_collections', coalesce(opened.shut_collections::text, '{}'), true),
            set_config('reading_room.own_collections', coalesce(opened.own_collections::text, '{}'), true),
            set_config('reading_room.open_documents', coalesce(opened.open_documents::text, '{}'), true),
            set_config('reading_room.shut_documents', coalesce(opened.shut_documents::text, '{}'), true);
END
$$;

CREATE FUNCTION reading_room_principal() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('reading_room.principal', true), '')::uuid
$$;

CREATE FUNCTION reading_room_ids(kept text) RETURNS SETOF uuid LANGUAGE sql STABLE PARALLEL SAFE ROWS 20 AS $$
    SELECT unnest(coalesce(nullif(current_setting('reading_room.' || kept, true), ''), '{}')::uuid[])
$$;

-- What documents are called, for whoever reviews the audit: titles alone, and for no other role.
CREATE FUNCTION reading_room_titles(wanted uuid[]) RETURNS TABLE (id uuid, title text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT d.id, d.title::text FROM documents_document AS d
    WHERE d.id = ANY (wanted) AND EXISTS (
        SELECT FROM accounts_rolegrant AS r JOIN accounts_user AS u ON u.id = reading_room_principal()
        WHERE u.is_active AND r.role = 'compliance_officer' AND (r.user_id = u.id OR r.group_id IN (
            SELECT m.group_id FROM accounts_user_groups AS m WHERE m.user_id = u.id))
    )
$$;
"""

_OPEN = """(collection_id IN (SELECT reading_room_ids('open_collections'))
            OR id IN (SELECT reading_room_ids('open_documents')))
       AND collection_id NOT IN (SELECT reading_room_ids('shut_collections'))
       AND id NOT IN (SELECT reading_room_ids('shut_documents'))"""
_OWN = f"{_OPEN} AND collection_id IN (SELECT reading_room_ids('own_collections'))"

#: table -> (who may read a row, who may write one), for the application's role.
_BY_DOCUMENT = "EXISTS (SELECT FROM documents_document AS d WHERE d.id = document_id)"
_BY_VERSION = "EXISTS (SELECT FROM documents_documentversion AS v WHERE v.id = version_id)"
RULES = {
    "documents_document": (_OPEN, _OWN),
    "documents_documentversion": (_BY_DOCUMENT, _BY_DOCUMENT),
    "documents_versiontext": (_BY_VERSION, _BY_VERSION),
    "documents_versionpage": (_BY_VERSION, _BY_VERSION),
    "documents_ingeststep": (_BY_VERSION, _BY_VERSION),
    "documents_chunk": (_BY_VERSION, _BY_VERSION),
    "documents_chunkembedding": (_BY_VERSION, _BY_VERSION),
    "documents_posting": (_BY_VERSION, _BY_VERSION),
    "documents_nameterm": (_BY_VERSION, _BY_VERSION),
    "documents_reindexing": (_BY_VERSION, _BY_VERSION),
    "documents_stagedchunk": ("EXISTS (SELECT FROM documents_reindexing AS w WHERE w.version_id = work_id)",) * 2,
}


def on(apps, schema_editor):
    schema_editor.execute(ENTER)
    lock(schema_editor, RULES)


def off(apps, schema_editor):
    unlock(schema_editor, RULES)
    for function in ("reading_room_titles", "reading_room_ids", "reading_room_principal", "reading_room_enter"):
        schema_editor.execute(f"DROP FUNCTION {function}")


class Migration(migrations.Migration):
    dependencies = [
        ("documents", "0009_indexing_again"),
        ("accounts", "0001_initial"),
        ("audit", "0003_worker_role"),
    ]
    operations = [migrations.RunPython(on, off)]
