"""The endpoint, and the champion's deployment."""

import dagster as dg

from phi_assets.defs.serving.metadata import describe_deployment, describe_endpoint
from phi_assets.graph.asset_facts import PLATFORM, if_quantized, on_azure, stored_by
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import Deployment, Endpoint, OptimizedModel, RegisteredModel


@dg.asset(
    group_name="serving",
    kinds={"python"},
    owners=PLATFORM,
    deps=["ml_workspace", *on_azure("managed_identity", "role_assignments")],
    metadata=stored_by("endpoint_host"),
)
def online_endpoint(context: dg.AssetExecutionContext, endpoint_host: EndpointHost) -> dg.MaterializeResult[Endpoint]:
    """A stable address with a key, independent of its deployments."""
    endpoint = endpoint_host.ensure_endpoint(context.log.info)
    return dg.MaterializeResult(
        value=endpoint,
        data_version=dg.DataVersion(endpoint.digest),
        metadata=describe_endpoint(endpoint),
    )


@dg.asset(
    group_name="serving",
    kinds={"python"},
    owners=PLATFORM,
    deps=if_quantized("optimized_model"),
    metadata=stored_by("endpoint_host"),
)
def online_deployment(
    context: dg.AssetExecutionContext,
    online_endpoint: Endpoint,
    registered_model: RegisteredModel,
    endpoint_host: EndpointHost,
    catalog: AssetCatalog,
) -> dg.MaterializeResult[Deployment]:
    """The champion's deployment, smoke-tested next to the previous deployment before it receives the traffic."""
    optimized = optimized_form(registered_model, catalog) if if_quantized("optimized_model") else None
    deployment = endpoint_host.deploy(registered_model, context.log.info, optimized)
    return dg.MaterializeResult(
        value=deployment,
        data_version=dg.DataVersion(deployment.digest),
        metadata=describe_deployment(online_endpoint, deployment),
    )


def optimized_form(model: RegisteredModel, catalog: AssetCatalog) -> OptimizedModel:
    """Return what optimized_model decided for this model. Raises Failure when it judged another one, or none."""
    optimized = catalog.record("optimized_model")
    if not isinstance(optimized, OptimizedModel) or optimized.model_digest != model.model_digest:
        raise dg.Failure(
            f"refused: optimized_model is not of {model.name} {model.version}; materialise optimized_model, then "
            "online_deployment",
            allow_retries=False,
        )
    return optimized
