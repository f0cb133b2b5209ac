"""Conversations belong to one person. The workers' role sees answers that nobody finished, to close them."""

from django.db import migrations

from appliance.lib.guarded.locking import lock, unlock

RULES = {
    "chat_conversation": ("owner_id = reading_room_principal()",) * 2,
    "chat_conversation_collections": ("EXISTS (SELECT FROM chat_conversation AS c WHERE c.id = conversation_id)",) * 2,
    "chat_message": ("EXISTS (SELECT FROM chat_conversation AS c WHERE c.id = conversation_id)",) * 2,
    "chat_citation": ("EXISTS (SELECT FROM chat_message AS m WHERE m.id = message_id)",) * 2,
}
_UNFINISHED = "role = 'assistant' AND (status IN ('pending', 'writing') OR error_code = 'interrupted')"
_WORKER = {"chat_message": _UNFINISHED, "chat_conversation": "true"}


def on(apps, schema_editor):
    for table, rule in RULES.items():
        lock(schema_editor, {table: rule}, worker=_WORKER.get(table, "false"))


def off(apps, schema_editor):
    unlock(schema_editor, RULES)


class Migration(migrations.Migration):
    dependencies = [("chat", "0001_initial"), ("documents", "0010_row_level_security")]
    operations = [migrations.RunPython(on, off)]
