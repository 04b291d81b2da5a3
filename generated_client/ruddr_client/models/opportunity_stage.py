from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast
from uuid import UUID

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.stage_status import StageStatus
from ..types import UNSET, Unset

T = TypeVar("T", bound="OpportunityStage")


@_attrs_define
class OpportunityStage:
    """
    Example:
        {'id': 'a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19', 'name': 'Negotiation', 'description': 'Terms are being
            discussed.', 'probability': 0.75, 'statusId': 'open', 'isActive': True, 'opportunityPipelineId':
            'b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2', 'createdAt': '2025-02-10T09:15:42.891Z'}

    """

    id: UUID
    """ The id of the stage. """
    name: str
    """ What salespeople see. """
    description: None | str
    """ A note on when an opportunity belongs here; null when there is none. """
    probability: float
    """ The win probability of opportunities at this stage, from 0 to 1. """
    status_id: StageStatus
    """ Whether opportunities at the stage are still open, or closed as won or as lost.
     """
    is_active: bool
    """ Whether the stage can be chosen. """
    created_at: datetime.datetime
    """ When it was created (UTC). """
    opportunity_pipeline_id: UUID | Unset = UNSET
    """ The pipeline the stage belongs to. Some answers leave it out. """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        id = str(self.id)

        name = self.name

        description: None | str
        description = self.description

        probability = self.probability

        status_id = self.status_id.value

        is_active = self.is_active

        created_at = self.created_at.isoformat()

        opportunity_pipeline_id: str | Unset = UNSET
        if not isinstance(self.opportunity_pipeline_id, Unset):
            opportunity_pipeline_id = str(self.opportunity_pipeline_id)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "id": id,
                "name": name,
                "description": description,
                "probability": probability,
                "statusId": status_id,
                "isActive": is_active,
                "createdAt": created_at,
            }
        )
        if opportunity_pipeline_id is not UNSET:
            field_dict["opportunityPipelineId"] = opportunity_pipeline_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        id = UUID(d.pop("id"))

        name = d.pop("name")

        def _parse_description(data: object) -> None | str:
            if data is None:
                return data
            return cast(None | str, data)

        description = _parse_description(d.pop("description"))

        probability = d.pop("probability")

        status_id = StageStatus(d.pop("statusId"))

        is_active = d.pop("isActive")

        created_at = datetime.datetime.fromisoformat(d.pop("createdAt"))

        _opportunity_pipeline_id = d.pop("opportunityPipelineId", UNSET)
        opportunity_pipeline_id: UUID | Unset
        if isinstance(_opportunity_pipeline_id, Unset):
            opportunity_pipeline_id = UNSET
        else:
            opportunity_pipeline_id = UUID(_opportunity_pipeline_id)

        opportunity_stage = cls(
            id=id,
            name=name,
            description=description,
            probability=probability,
            status_id=status_id,
            is_active=is_active,
            created_at=created_at,
            opportunity_pipeline_id=opportunity_pipeline_id,
        )

        opportunity_stage.additional_properties = d
        return opportunity_stage

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
