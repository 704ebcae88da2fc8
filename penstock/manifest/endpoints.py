"""Endpoints in manifests, of either dialect."""

from __future__ import annotations

from penstock.manifest import tree
from penstock.manifest.deployments import read_deployment
from penstock.manifest.fields import Fields, kind, meant
from penstock.manifest.files import Folder
from penstock.manifest.names import short_name
from penstock.manifest.traffic import WHOLE, mirror_mistake, traffic_mistake
from penstock.manifest.values import AuthMode, ManifestDeployment, ManifestEndpoint

_KUBERNETES = "it needs a platform on Kubernetes, and this one runs processes on its own machine"
_READ_ONLY = ("$schema", "id", "provisioning_state", "scoring_uri", "swagger_uri", "openapi_uri", "creation_context")
_AZURE_ONLY = ("identity", "location", "public_network_access")


def read_endpoint(fields: Fields, folder: Folder) -> ManifestEndpoint:
    """An endpoint's mapping, with its inline deployments in the 2021 form."""
    fields.tolerate(*_READ_ONLY)
    name = short_name(fields, "name", required=True)
    fields.choice("type", ["online"], {"batch": "batch endpoints are not served yet"})
    fields.choice("kind", ["managed"], {"kubernetes": _KUBERNETES, "k8s": _KUBERNETES})
    fields.refuse("compute", _KUBERNETES)
    fields.refuse("target", _KUBERNETES)
    no_azure = "there is no Azure Active Directory behind this platform; use key or aml_token"
    auth_mode = fields.choice("auth_mode", list(AuthMode), {"aad_token": no_azure, "aadtoken": no_azure})
    traffic, mirror = fields.integers("traffic", 0, WHOLE), fields.integers("mirror_traffic", 0, WHOLE)
    deployments = _deployments(fields, folder, name)
    _check_traffic(fields, traffic, mirror, deployments)
    endpoint = ManifestEndpoint(
        name=name,
        auth_mode=AuthMode(auth_mode) if auth_mode else AuthMode.KEY,
        traffic=traffic,
        mirror_traffic=mirror,
        description=fields.text("description"),
        tags=fields.texts("tags"),
        properties=fields.texts("properties"),
        retained=fields.retain(*_AZURE_ONLY),
        deployments=deployments or (),
        at=fields.node.position,
    )
    fields.close()
    return endpoint


def _deployments(fields: Fields, folder: Folder, endpoint: str) -> tuple[ManifestDeployment, ...] | None:
    """The inline deployments; None when the file has no such key."""
    node = fields.value("deployments")
    if node is None:
        return None
    if not isinstance(node, tree.Sequence):
        fields.report.problem(node.position, f"`deployments` must be a list, and this is {kind(node)}")
        return None
    deployments: dict[str, ManifestDeployment] = {}
    for index, item in enumerate(node.items):
        child = Fields.of(item, fields.report, f"deployments[{index}]")
        if child is None:
            continue
        child.path = ""
        deployment = read_deployment(child, folder, endpoint=endpoint)
        if deployment.endpoint_name != endpoint:
            message = (
                f"`{deployment.name}` names the endpoint `{deployment.endpoint_name}`, and stands under `{endpoint}`"
            )
            fields.report.problem(child.at("endpoint_name"), message)
        if deployment.name in deployments:
            fields.report.problem(child.at("name"), f"there are two deployments called `{deployment.name}`")
        deployments[deployment.name] = deployment
    return tuple(deployments.values())


def _check_traffic(
    fields: Fields,
    traffic: dict[str, int],
    mirror: dict[str, int],
    deployments: tuple[ManifestDeployment, ...] | None,
) -> None:
    written = fields.node.get("traffic")
    # A share that was refused is missing from the sum; only that one mistake is worth a line.
    complete = not isinstance(written, tree.Mapping) or len(traffic) == len(written.entries)
    if complete and (mistake := traffic_mistake(traffic)):
        fields.report.problem(fields.at("traffic"), mistake)
    if mistake := mirror_mistake(mirror, traffic):
        fields.report.problem(fields.at("mirror_traffic"), mistake)
    if deployments is None:
        return
    names = {deployment.name for deployment in deployments}
    for key, shares in (("traffic", traffic), ("mirror_traffic", mirror)):
        child = fields.child(key)
        for name in shares if child else ():
            if child and name not in names:
                have = ", ".join(sorted(names)) or "none"
                message = f"`{key}` names `{name}`{meant(name, names)}, and the deployments here are: {have}"
                fields.report.problem(child.at(name), message)
