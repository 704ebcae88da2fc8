"""Deployments in manifests, of either dialect.

The two dialects name the same things with a few different keys and never the same key for different things, so one
reader takes both: less to keep in step, and a file half-way through its migration loads too.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from penstock.manifest import tree
from penstock.manifest.environments import read_environment_key
from penstock.manifest.fields import Fields, kind
from penstock.manifest.files import Folder, parse_mapping, shown
from penstock.manifest.models import read_model_key
from penstock.manifest.names import short_name
from penstock.manifest.script import missing_functions
from penstock.manifest.values import Code, ManifestDeployment, ProbeSettings, RequestSettings

MAX_INSTANCES = 1000
_KUBERNETES = "it needs a platform on Kubernetes, and this one runs processes on its own machine"
_NO_AUTOSCALE = "there is no automatic scaling yet; set `instance_count`"
_READ_ONLY = ("$schema", "id", "provisioning_state", "creation_context")
_AZURE_ONLY = ("app_insights_enabled", "egress_public_network_access", "private_network_connection", "location")


def read_deployment(fields: Fields, folder: Folder, *, endpoint: str = "") -> ManifestDeployment:
    """A deployment's mapping. With ``endpoint`` it stands inside that endpoint's file."""
    fields.tolerate(*_READ_ONLY)
    name = short_name(fields, "name", required=True)
    refused = dict.fromkeys(("kubernetes", "k8s", "aks"), _KUBERNETES)
    fields.choice("type", ["managed"], refused | {"batch": "batch endpoints are not served yet"})
    fields.refuse("resources", _KUBERNETES)
    fields.refuse("resource_requirements", _KUBERNETES)
    fields.refuse("data_collector", "requests are not collected yet; remove it, nothing is recorded")
    deployment = ManifestDeployment(
        name=name,
        endpoint_name=short_name(fields, "endpoint_name") or endpoint,
        model=read_model_key(fields, folder),
        code=_code(fields, folder),
        environment=read_environment_key(fields, folder),
        strict_environment=fields.flag("strict_environment") or False,
        environment_variables=_environment_variables(fields),
        instance_type=fields.text("instance_type"),
        instance_count=_instance_count(fields),
        request_settings=_request_settings(fields),
        liveness_probe=_probe(fields, "liveness_probe"),
        readiness_probe=_probe(fields, "readiness_probe"),
        model_mount_path=fields.text("model_mount_path"),
        description=fields.text("description"),
        tags=fields.texts("tags"),
        properties=fields.texts("properties"),
        retained=fields.retain(*_AZURE_ONLY),
        at=fields.node.position,
    )
    fields.close()
    return deployment


def _environment_variables(fields: Fields) -> dict[str, str]:
    variables = fields.texts("environment_variables")
    child = fields.child("environment_variables")
    for name in variables:
        if child is not None and (not name or "=" in name or "\0" in name + variables[name]):
            fields.report.problem(child.at(name), f"`{name}` cannot be an environment variable's name")
        if child is not None and name.startswith("PENSTOCK_"):
            fields.report.problem(child.at(name), f"`{name}`: names starting with PENSTOCK_ are the platform's own")
    return variables


def _code(fields: Fields, folder: Folder) -> Code | None:
    child = fields.child("code_configuration")
    if child is None:
        return None
    source, script = _code_folder(child, folder), child.text("scoring_script", required=True)
    child.close()
    if source is None or not script:
        return None
    _check_script(child, folder, source, script)
    return Code(source, str(PurePosixPath(script)))


def _code_folder(fields: Fields, folder: Folder) -> Path | None:
    """``code``: a path; in the 2021 form ``{local_path}``, or ``file:`` with a YAML file that says so."""
    node = fields.value("code")
    if node is None:
        fields.report.problem(fields.node.position, "`code_configuration.code` is required: the folder of the script")
        return None
    if isinstance(node, tree.Mapping):
        return _code_asset(Fields(node, fields.report, "code_configuration.code"), folder)
    if isinstance(node, tree.Sequence):
        fields.report.problem(node.position, f"`code_configuration.code` must be a path, and this is {kind(node)}")
        return None
    if not (node.text.startswith("file:") and node.text.endswith((".yml", ".yaml"))):
        return folder.folder(fields, "code", node.text)
    path = folder.file(fields, "code", node.text)
    text = folder.read(fields, "code", path) if path else None
    root = parse_mapping(text, shown(path), fields.report) if path and text is not None else None
    return _code_asset(root, folder.at(path.parent)) if root and path else None


def _code_asset(fields: Fields, folder: Folder) -> Path | None:
    fields.tolerate("$schema", "id", "name", "version")
    fields.drop("datastore")
    key = "local_path" if "local_path" in fields else "path"
    path = folder.folder(fields, key, fields.text(key, required=True))
    fields.close()
    return path


def _check_script(fields: Fields, folder: Folder, source: Path, script: str) -> None:
    inside = PurePosixPath(script)
    if inside.is_absolute() or ".." in inside.parts:
        message = f"`scoring_script: {script}` must be a path inside the code folder `{source.name}`"
        fields.report.problem(fields.at("scoring_script"), message)
        return
    path = folder.at(source).file(fields, "scoring_script", script)
    text = folder.read(fields, "scoring_script", path) if path else None
    for name in missing_functions(text) if text is not None else ():
        fields.report.problem(fields.at("scoring_script"), f"`{script}` defines no {name}() function")


def _instance_count(fields: Fields) -> int | None:
    count = fields.integer("instance_count", 0, MAX_INSTANCES)
    child = fields.child("scale_settings")
    if child is None:
        return count
    key = "scale_type" if "scale_type" in child else "type"
    refused = {"auto": _NO_AUTOSCALE, "target_utilization": _NO_AUTOSCALE}
    allowed = ["manual"] if key == "scale_type" else ["default"]
    chosen = child.choice(key, allowed, refused)
    if key not in child:
        child.report.problem(child.node.position, "`scale_settings` needs a `type` (in the 2021 form: `scale_type`)")
    scaled = child.integer("instance_count", 0, MAX_INSTANCES)
    low = child.integer("min_instances", 0, MAX_INSTANCES)
    high = child.integer("max_instances", 0, MAX_INSTANCES)
    child.tolerate("polling_interval", "target_utilization_percentage")
    if chosen:
        for other in ("polling_interval", "target_utilization_percentage"):
            child.refuse(other, f"it is a setting of automatic scaling, and this is `{key}: {chosen}`")
    bounds = (0 if low is None else low, MAX_INSTANCES if high is None else high)
    if scaled is not None and not bounds[0] <= scaled <= bounds[1]:
        message = f"`instance_count: {scaled}` lies outside `min_instances` to `max_instances`"
        child.report.problem(child.at("instance_count"), message)
    if count is not None and scaled is not None and count != scaled:
        child.report.problem(child.at("instance_count"), f"`instance_count` is given twice, {count} and {scaled}")
    child.close()
    return count if scaled is None else scaled


def _request_settings(fields: Fields) -> RequestSettings | None:
    child = fields.child("request_settings")
    if child is None:
        return None
    settings = RequestSettings(
        request_timeout_ms=child.integer("request_timeout_ms", 1, 180_000),
        max_concurrent_requests_per_instance=child.integer("max_concurrent_requests_per_instance", 1, 1000),
        max_queue_wait_ms=child.integer("max_queue_wait_ms", 1, 180_000),
    )
    child.close()
    return settings


def _probe(fields: Fields, key: str) -> ProbeSettings | None:
    child = fields.child(key)
    if child is None:
        return None
    probe = ProbeSettings(
        initial_delay=child.number("initial_delay", 0, 3600),
        period=child.number("period", 1, 3600),
        timeout=child.number("timeout", 1, 3600),
        success_threshold=child.integer("success_threshold", 1, 100),
        failure_threshold=child.integer("failure_threshold", 1, 1000),
    )
    child.close()
    return probe
