"""The tables of the documents, one room for each kind."""

from appliance.documents.models.collections import (
    ChunkTemplate,
    Classification,
    Collection,
)
from appliance.documents.models.documents import (
    UNFINISHED,
    Document,
    DocumentVersion,
    IngestStep,
    VersionPage,
    VersionStatus,
    VersionText,
)
from appliance.documents.models.grants import (
    BreakGlass,
    Effect,
    Finding,
    Grant,
    GrantRole,
    Wall,
    WallMember,
    WallTarget,
)
from appliance.documents.models.index import (
    BuiltVersion,
    Chunk,
    ChunkEmbedding,
    EmbeddingModel,
    NameTerm,
    Posting,
    Reindexing,
    StagedChunk,
)
from appliance.documents.models.trials import (
    QuestionSet,
    RetrievalRun,
    SavedQuestion,
)
from appliance.documents.models.uploads import (
    UploadBatch,
    UploadItem,
)

__all__ = [
    "BreakGlass",
    "BuiltVersion",
    "Chunk",
    "ChunkEmbedding",
    "ChunkTemplate",
    "Classification",
    "Collection",
    "Document",
    "DocumentVersion",
    "Effect",
    "EmbeddingModel",
    "Finding",
    "Grant",
    "GrantRole",
    "IngestStep",
    "NameTerm",
    "Posting",
    "QuestionSet",
    "Reindexing",
    "RetrievalRun",
    "SavedQuestion",
    "StagedChunk",
    "UNFINISHED",
    "UploadBatch",
    "UploadItem",
    "VersionPage",
    "VersionStatus",
    "VersionText",
    "Wall",
    "WallMember",
    "WallTarget",
]
