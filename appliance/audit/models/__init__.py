"""The tables of the audit, by what they are for. `record` alone adds events; the sealer alone adds what seals them."""

from appliance.audit.models.events import AuditEntity, AuditEvent, CurrentTransaction, EventType, Outcome
from appliance.audit.models.oversight import Alert, AlertRule, Review, SavedFilter, Verification, Watermark
from appliance.audit.models.reveal import Content, ContentKind, Reveal
from appliance.audit.models.seal import Checkpoint, CoSignature, Delivery, Leaf, SealKey, Tile

__all__ = [
    "Alert",
    "AlertRule",
    "AuditEntity",
    "AuditEvent",
    "Checkpoint",
    "CoSignature",
    "Content",
    "ContentKind",
    "CurrentTransaction",
    "Delivery",
    "EventType",
    "Leaf",
    "Outcome",
    "Reveal",
    "Review",
    "SavedFilter",
    "SealKey",
    "Tile",
    "Verification",
    "Watermark",
]
