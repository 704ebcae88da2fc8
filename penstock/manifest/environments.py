"""Environments in manifests: a reference, an inline description, or a file of their own."""

from __future__ import annotations

import io

from ruamel.yaml import YAML

from penstock.manifest import tree
from penstock.manifest.fields import Fields, kind
from penstock.manifest.files import Folder, parse_mapping, shown
from penstock.manifest.names import reference, registered_name
from penstock.manifest.values import HttpRoute, InferenceConfig, ManifestEnvironment, Registered

_NO_BUILD = "images are not built here; name a ready `image`, or list the packages in `conda_file`"


def read_environment_key(fields: Fields, folder: Folder) -> Registered | ManifestEnvironment | None:
    """The deployment's ``environment``."""
    node = fields.value("environment")
    if isinstance(node, tree.Mapping):
        return read_environment(Fields(node, fields.report, "environment"), folder, named=False)
    if node is None:
        return None
    if isinstance(node, tree.Sequence):
        message = f"`environment` must be a reference or a mapping, and this is {kind(node)}"
        fields.report.problem(node.position, message)
        return None
    if not node.text.startswith("file:"):
        return reference(node.text, "environment", node.position, fields.report)
    path = folder.file(fields, "environment", node.text)
    text = folder.read(fields, "environment", path) if path else None
    if path is None or text is None:
        return None
    root = parse_mapping(text, shown(path), fields.report)
    return read_environment(root, folder.at(path.parent), named=False) if root else None


def read_environment(fields: Fields, folder: Folder, *, named: bool) -> ManifestEnvironment:
    """An environment's own mapping. With ``named`` its name is required."""
    fields.tolerate("$schema", "id", "creation_context")
    name, version = registered_name(fields, required=named)
    fields.choice("os_type", ["linux"], {"windows": "instances run on Linux"})
    fields.refuse("build", _NO_BUILD)
    # `path` is the folder of an image build. Published files carry it beside a conda file, where it does nothing.
    fields.drop("datastore", "path")
    conda_file = _conda_text(fields, folder)
    image = _image(fields)
    environment = ManifestEnvironment(
        name=name,
        version=version,
        conda_file=conda_file,
        image=image,
        inference_config=_inference_config(fields),
        description=fields.text("description"),
        tags=fields.texts("tags"),
        properties=fields.texts("properties"),
    )
    if not any(key in fields for key in ("conda_file", "image", "docker", "build")):
        fields.report.problem(fields.node.position, "an environment needs a `conda_file` or an `image`")
    fields.close()
    return environment


def _image(fields: Fields) -> str:
    image = fields.text("image")
    docker = fields.child("docker")
    if docker is None:
        return image
    docker.refuse("build", _NO_BUILD)
    nested = docker.text("image")
    if image and nested:
        fields.report.problem(docker.at("image"), "`image` and `docker.image` mean the same: give one of them")
    docker.close()
    return image or nested


def _conda_text(fields: Fields, folder: Folder) -> str:
    """The conda file's text, from a path or as written inline; checked as far as anyone can who does not build it."""
    node = fields.value("conda_file")
    if isinstance(node, tree.Mapping):
        _check_conda(Fields(node, fields.report, "conda_file"))
        out = io.StringIO()
        YAML(typ="safe", pure=True).dump(tree.plain(node), out)
        return out.getvalue()
    text = fields.text("conda_file")
    path = folder.file(fields, "conda_file", text)
    content = folder.read(fields, "conda_file", path) if path else None
    if path is None or content is None:
        return ""
    root = parse_mapping(content, shown(path), fields.report)
    if root is not None:
        _check_conda(root)
    return content


def _check_conda(conda: Fields) -> None:
    """Only what would make the whole file meaningless: what resolves and what doesn't is the builder's to say."""
    dependencies = conda.value("dependencies")
    if dependencies is None:
        conda.report.problem(conda.node.position, "a conda file needs `dependencies`, a list of packages")
    elif not isinstance(dependencies, tree.Sequence):
        message = f"`dependencies` must be a list of packages, and this is {kind(dependencies)}"
        conda.report.problem(dependencies.position, message)


def _inference_config(fields: Fields) -> InferenceConfig | None:
    child = fields.child("inference_config")
    if child is None:
        return None
    config = InferenceConfig(
        _route(child, "liveness_route"), _route(child, "readiness_route"), _route(child, "scoring_route")
    )
    child.close()
    return config


def _route(fields: Fields, key: str) -> HttpRoute | None:
    child = fields.child(key)
    if child is None:
        return None
    port, path = child.integer("port", 1, 65535), child.text("path", required=True)
    if "port" not in child:
        child.report.problem(child.node.position, f"`{child.path}.port` is required")
    child.close()
    return HttpRoute(port, path) if port and path else None
