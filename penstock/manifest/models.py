"""Models in manifests: a reference, an inline description, or a file of their own."""

from __future__ import annotations

from penstock.manifest import tree
from penstock.manifest.fields import Fields, kind
from penstock.manifest.files import Folder, parse_mapping, shown
from penstock.manifest.names import reference, registered_name
from penstock.manifest.values import ManifestModel, ModelType, Registered


def read_model_key(fields: Fields, folder: Folder) -> Registered | ManifestModel | None:
    """The deployment's ``model``."""
    node = fields.value("model")
    if isinstance(node, tree.Mapping):
        child = Fields(node, fields.report, "model")
        return read_model(child, folder, named=False)
    if node is None:
        return None
    if isinstance(node, tree.Sequence):
        fields.report.problem(node.position, f"`model` must be a reference or a mapping, and this is {kind(node)}")
        return None
    if not node.text.startswith("file:"):
        return reference(node.text, "model", node.position, fields.report)
    path = folder.file(fields, "model", node.text)
    text = folder.read(fields, "model", path) if path else None
    if path is None or text is None:
        return None
    root = parse_mapping(text, shown(path), fields.report)
    return read_model(root, folder.at(path.parent), named=False) if root else None


def read_model(fields: Fields, folder: Folder, *, named: bool) -> ManifestModel | None:
    """A model's own mapping. With ``named`` its name is required."""
    fields.tolerate("$schema", "id", "creation_context")
    name, version = registered_name(fields, required=named)
    refused = {"triton_model": "Triton's repositories are not served yet", "mlflow_model": "MLflow is not served yet"}
    type_ = fields.choice("type", [ModelType.CUSTOM], refused)
    key = "local_path" if "local_path" in fields else "path"
    path = folder.either(fields, key, fields.text(key, required=True))
    if key == "local_path" and "path" in fields:
        fields.report.problem(fields.at("path"), "`path` and `local_path` mean the same: give one of them")
    fields.drop("datastore", "stage", "flavors", "utc_time_created")
    description, tags, properties = fields.text("description"), fields.texts("tags"), fields.texts("properties")
    fields.close()
    if path is None:
        return None
    return ManifestModel(
        path=path,
        name=name,
        version=version,
        type=ModelType(type_) if type_ else ModelType.CUSTOM,
        description=description,
        tags=tags,
        properties=properties,
        at=fields.node.position,
    )
