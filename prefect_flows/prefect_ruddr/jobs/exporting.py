"""The flow that writes all stages to a file, and shows them with their ids."""

from prefect import flow

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.records.stage_table import publish_stages
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.tasks import export_opportunity_stages


@flow(name="export-opportunity-stages")
def export_opportunity_stages_flow(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str | None = None,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
) -> list[Stage]:
    """Export all stages: to a file to edit and give back, and as a table that shows their ids.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        path_or_url: The file to write, such as stages.yaml where the flow runs, or s3://….
            Empty for the table alone.
        format: What kind of file it is. Empty for what its name says.

    Returns:
        The stages in the order of the file: by pipeline, then open, won, lost, then by name.

    Raises:
        InvalidStageUpdates: When the file's name says no format.
        ExportFailed: When the file cannot be written; one that was there is as it was.
        RuddrRequestError: When a request fails, in the class that says why.
    """
    stages = export_opportunity_stages(ruddr_credentials, path_or_url, format)
    publish_stages(stages, ruddr_credentials.pipeline_names)
    return stages
