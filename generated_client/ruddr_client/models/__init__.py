"""Contains all the data models used in inputs/outputs"""

from .error import Error
from .opportunity_stage import OpportunityStage
from .opportunity_stage_page import OpportunityStagePage
from .opportunity_stage_update import OpportunityStageUpdate
from .stage_status import StageStatus
from .workspace import Workspace

__all__ = (
    "Error",
    "OpportunityStage",
    "OpportunityStagePage",
    "OpportunityStageUpdate",
    "StageStatus",
    "Workspace",
)
