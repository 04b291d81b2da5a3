"""Change Ruddr opportunity stages from Prefect pipelines."""

__version__ = "0.1.0"

from prefect_ruddr.api import Answer, RuddrApi
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import (
    AnswerLost,
    BadRequest,
    ConnectionFailed,
    ErrorResponse,
    Forbidden,
    GlobalConcurrencyLimitError,
    InvalidCredentials,
    InvalidStageUpdates,
    MethodNotAllowed,
    NoAnswer,
    RuddrError,
    RuddrRequestError,
    ServerError,
    StageConflict,
    StageNotFound,
    TooManyRequests,
    Unauthorized,
    UnexpectedResponse,
    WorkspaceLocked,
)
from prefect_ruddr.flows import update_opportunity_stage_flow
from prefect_ruddr.stages import Stage, StageStatus, StageUpdate, StageUpdateLike, Workspace
from prefect_ruddr.tasks import (
    aget_opportunity_stage,
    alist_opportunity_stages,
    aupdate_opportunity_stage,
    get_opportunity_stage,
    list_opportunity_stages,
    update_opportunity_stage,
)

__all__ = [
    "Answer",
    "AnswerLost",
    "BadRequest",
    "ConnectionFailed",
    "ErrorResponse",
    "Forbidden",
    "GlobalConcurrencyLimitError",
    "InvalidCredentials",
    "InvalidStageUpdates",
    "MethodNotAllowed",
    "NoAnswer",
    "RuddrApi",
    "RuddrCredentials",
    "RuddrError",
    "RuddrRequestError",
    "ServerError",
    "Stage",
    "StageConflict",
    "StageNotFound",
    "StageStatus",
    "StageUpdate",
    "StageUpdateLike",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedResponse",
    "Workspace",
    "WorkspaceLocked",
    "__version__",
    "aget_opportunity_stage",
    "alist_opportunity_stages",
    "aupdate_opportunity_stage",
    "get_opportunity_stage",
    "list_opportunity_stages",
    "update_opportunity_stage",
    "update_opportunity_stage_flow",
]
