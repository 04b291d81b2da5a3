from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define

from ..models.stage_status import StageStatus
from ..types import UNSET, Unset

T = TypeVar("T", bound="OpportunityStageUpdate")


@_attrs_define
class OpportunityStageUpdate:
    """The fields to set. A field that is absent keeps its value. `null` clears, and only
    `description` may be cleared; a description of white space alone is stored as null.

    """

    name: str | Unset = UNSET
    """ What salespeople see; not blank. """
    description: None | str | Unset = UNSET
    """ A note on when an opportunity belongs here; null clears it. """
    probability: float | Unset = UNSET
    """ The win probability, from 0 to 1, with at most four decimal places. """
    status_id: StageStatus | Unset = UNSET
    """ Whether opportunities at the stage are still open, or closed as won or as lost.
     """
    is_active: bool | Unset = UNSET
    """ Whether the stage can be chosen. """
    opportunity_pipeline_id: UUID | Unset = UNSET
    """ The pipeline to move the stage to. """

    def to_dict(self) -> dict[str, Any]:
        name = self.name

        description: None | str | Unset
        if isinstance(self.description, Unset):
            description = UNSET
        else:
            description = self.description

        probability = self.probability

        status_id: str | Unset = UNSET
        if not isinstance(self.status_id, Unset):
            status_id = self.status_id.value

        is_active = self.is_active

        opportunity_pipeline_id: str | Unset = UNSET
        if not isinstance(self.opportunity_pipeline_id, Unset):
            opportunity_pipeline_id = str(self.opportunity_pipeline_id)

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if name is not UNSET:
            field_dict["name"] = name
        if description is not UNSET:
            field_dict["description"] = description
        if probability is not UNSET:
            field_dict["probability"] = probability
        if status_id is not UNSET:
            field_dict["statusId"] = status_id
        if is_active is not UNSET:
            field_dict["isActive"] = is_active
        if opportunity_pipeline_id is not UNSET:
            field_dict["opportunityPipelineId"] = opportunity_pipeline_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        name = d.pop("name", UNSET)

        def _parse_description(data: object) -> None | str | Unset:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        description = _parse_description(d.pop("description", UNSET))

        probability = d.pop("probability", UNSET)

        _status_id = d.pop("statusId", UNSET)
        status_id: StageStatus | Unset
        if isinstance(_status_id, Unset):
            status_id = UNSET
        else:
            status_id = StageStatus(_status_id)

        is_active = d.pop("isActive", UNSET)

        _opportunity_pipeline_id = d.pop("opportunityPipelineId", UNSET)
        opportunity_pipeline_id: UUID | Unset
        if isinstance(_opportunity_pipeline_id, Unset):
            opportunity_pipeline_id = UNSET
        else:
            opportunity_pipeline_id = UUID(_opportunity_pipeline_id)

        opportunity_stage_update = cls(
            name=name,
            description=description,
            probability=probability,
            status_id=status_id,
            is_active=is_active,
            opportunity_pipeline_id=opportunity_pipeline_id,
        )

        return opportunity_stage_update
