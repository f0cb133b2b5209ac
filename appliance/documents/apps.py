from django.apps import AppConfig


class DocumentsConfig(AppConfig):
    name = "appliance.documents"
    label = "documents"

    def ready(self) -> None:
        from appliance.audit.record import mark_events_with
        from appliance.documents.grants import actions, break_glass, walls  # noqa: F401  (they register what they approve)

        mark_events_with(break_glass.mark_of)
