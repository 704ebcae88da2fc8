"""Files as users have them: both dialects, every mistake with its place."""

# ruff: noqa: E501 - a case is a line

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import manifest
from penstock.errors import ManifestError
from penstock.manifest import AuthMode, HttpRoute, ProbeSettings, Registered, RequestSettings, Text

BASE = Path("/project")


class MemoryFiles:
    """A file system that holds ``files``, and the folders above them."""

    def __init__(self, **files: str) -> None:
        self.files = {BASE / name.replace("__", "/").replace("_yml", ".yml"): text for name, text in files.items()}

    def is_file(self, path: Path) -> bool:
        return _tidy(path) in self.files

    def is_folder(self, path: Path) -> bool:
        return any(_tidy(path) in file.parents for file in self.files)

    def names(self, folder: Path) -> list[str]:
        return sorted({f.relative_to(_tidy(folder)).parts[0] for f in self.files if _tidy(folder) in f.parents})

    def read(self, path: Path) -> str:
        return self.files[_tidy(path)]


def _tidy(path: Path) -> Path:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


FILES = MemoryFiles(
    conda_yml="dependencies: [python=3.11]\n",
    model="weights",
    **{"src__score.py": "def init(): ...\ndef run(data): ...\n"},
)


def deployment(text: str, *overrides: str, files: MemoryFiles = FILES) -> manifest.ManifestDeployment:
    return manifest.load_deployment(Text(text, "d.yml", BASE), overrides, files).value


def endpoint(text: str, *overrides: str) -> manifest.ManifestEndpoint:
    return manifest.load_endpoint(Text(text, "e.yml", BASE), overrides, FILES).value


def mistakes(text: str, kind: str = "deployment", files: MemoryFiles = FILES) -> list[str]:
    load = {"deployment": manifest.load_deployment, "endpoint": manifest.load_endpoint}[kind]
    name = f"{kind[0]}.yml"
    with pytest.raises(ManifestError) as caught:
        load(Text(text, name, BASE), (), files)
    return [str(problem) for problem in caught.value.problems]


class TestWhatLoads:
    def test_a_current_deployment(self) -> None:
        read = deployment(
            """
$schema: https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json
name: blue
endpoint_name: my-endpoint
model:
  path: ./model
code_configuration:
  code: ./src/
  scoring_script: score.py
environment:
  conda_file: ./conda.yml
  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu20.04:latest
  inference_config:
    scoring_route: {port: 5001, path: /score}
environment_variables: {A: 1, B: true, C: text}
instance_type: Standard_DS3_v2
instance_count: 2
request_settings:
  request_timeout_ms: 3000
  max_concurrent_requests_per_instance: "4"
liveness_probe: {initial_delay: 1, period: 2.5}
tags: {a: b}
"""
        )
        assert read.code == manifest.Code(BASE / "src", "score.py")
        assert isinstance(read.model, manifest.ManifestModel)
        assert read.model.path == BASE / "model"
        assert isinstance(read.environment, manifest.ManifestEnvironment)
        assert read.environment.conda_file == "dependencies: [python=3.11]\n"
        assert read.environment.inference_config == manifest.InferenceConfig(scoring_route=HttpRoute(5001, "/score"))
        assert read.environment_variables == {"A": "1", "B": "true", "C": "text"}
        assert read.request_settings == RequestSettings(3000, 4)
        assert read.liveness_probe == ProbeSettings(initial_delay=1, period=2.5)
        assert (read.instance_count, read.endpoint_name) == (2, "my-endpoint")

    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("azureml:m:1", Registered("m", "1")),
            ("azureml:my.model-x:v1.2", Registered("my.model-x", "v1.2")),
            ("azureml:m@latest", Registered("m", "latest")),
        ],
    )
    def test_references(self, written: str, read: Registered) -> None:
        loaded = deployment(f"name: blue\nmodel: {written}\nenvironment: {written}\n")
        assert (loaded.model, loaded.environment) == (read, read)

    def test_an_inline_conda_file(self) -> None:
        read = deployment("name: blue\nenvironment: {conda_file: {dependencies: [python, {pip: [numpy]}]}}\n")
        assert isinstance(read.environment, manifest.ManifestEnvironment)
        assert "pip" in read.environment.conda_file

    def test_what_stands_in_files_of_its_own(self) -> None:
        files = MemoryFiles(
            env__env_yml="name: e\nversion: 3\nconda_file: ../conda.yml\n",
            model_yml="name: m\nversion: 1\npath: ./src\n",
            code_yml="local_path: ./src\n",
            conda_yml="dependencies: [python]\n",
            **{"src__score.py": "from x import *\n"},
        )
        text = """
name: blue
environment: file:./env/env.yml
model: file:model.yml
code_configuration: {code: "file:code.yml", scoring_script: score.py}
"""
        read = deployment(text, files=files)
        assert isinstance(read.environment, manifest.ManifestEnvironment)
        assert (read.environment.name, read.environment.version) == ("e", "3")
        assert isinstance(read.model, manifest.ManifestModel)
        assert read.model.path == BASE / "src"
        assert read.code == manifest.Code(BASE / "src", "score.py")

    def test_a_mistake_in_a_file_of_its_own_names_that_file(self) -> None:
        files = MemoryFiles(env_yml="nmae: e\nimage: x\n")
        (problem,) = mistakes("name: blue\nenvironment: file:env.yml\n", files=files)
        assert problem.endswith("env.yml:1:1: unknown key `nmae` (did you mean `name`?)")

    def test_a_conda_file_without_dependencies_names_that_file(self) -> None:
        files = MemoryFiles(conda_yml="channels: [x]\n")
        (problem,) = mistakes("name: blue\nenvironment: {conda_file: conda.yml}\n", files=files)
        assert "conda.yml:1:1: a conda file needs `dependencies`" in problem

    def test_an_endpoint_with_what_has_no_meaning_here(self) -> None:
        loaded = manifest.load_endpoint(
            Text("name: abc\nauth_mode: AML_Token\nlocation: x\nidentity: {type: system_assigned}\n", "e.yml", BASE)
        )
        assert loaded.value.auth_mode is AuthMode.AML_TOKEN
        assert loaded.value.retained == {"location": '"x"', "identity": '{"type": "system_assigned"}'}
        (note,) = loaded.notes
        assert note.endswith("without a meaning on one's own machines: `identity` (line 4), `location` (line 3)")

    def test_only_what_is_kept_is_called_kept(self) -> None:
        loaded = manifest.load_environment(Text("name: env\nimage: x\npath: .\n", "env.yml", Path.cwd()))
        assert loaded.notes == ("env.yml: without a meaning on one's own machines: `path` (line 3)",)

    def test_what_show_prints_loads_again(self) -> None:
        text = "id: x\nname: abc\nkind: Managed\nprovisioning_state: Succeeded\nscoring_uri: http://x\nopenapi_uri: y\n"
        assert endpoint(text).name == "abc"

    def test_anchors_and_merge_keys(self) -> None:
        text = """
name: abc
deployments:
  - &one
    name: blue
    instance_count: 2
  - <<: *one
    name: green
"""
        assert [(d.name, d.instance_count) for d in endpoint(text).deployments] == [("blue", 2), ("green", 2)]

    def test_overrides_reach_into_lists_and_make_what_is_missing(self) -> None:
        read = endpoint(
            "name: abc\ndeployments: [{name: blue}]\n",
            "deployments[0].instance_count=3",
            "tags.a.b=c",
            "tags={x: y}",
            "name=other",
        )
        assert (read.name, read.deployments[0].instance_count, read.tags) == ("other", 3, {"x": "y"})

    def test_the_keys_of_texts_may_have_dots(self) -> None:
        read = endpoint(
            "name: abc\nproperties: {penstock.retry: unsent}\n", "properties.penstock.retry=never", "tags.a.b=c"
        )
        assert (read.properties, read.tags) == ({"penstock.retry": "never"}, {"a.b": "c"})

    @pytest.mark.parametrize("override", ["x", "=1", "deployments[5].name=x", "name.x=1", "a..b=1"])
    def test_overrides_that_fit_nothing(self, override: str) -> None:
        with pytest.raises(ManifestError, match="--set"):
            endpoint("name: abc\ndeployments: [{name: blue}]\n", override)

    def test_a_wrong_flag_is_named_as_it_was_typed(self) -> None:
        with pytest.raises(ManifestError, match=r"^--name 1bad: `name: 1bad` is no valid name"):
            endpoint("{}", manifest.Flag.of("--name", "name", "1bad"))
        with pytest.raises(ManifestError, match=r"^--instance-count -1: `instance_count`"):
            deployment("name: blue\n", manifest.Flag.of("--instance-count", "instance_count", -1))

    def test_a_name_is_a_text_whatever_yaml_makes_of_it(self) -> None:
        assert endpoint("{}", manifest.Flag.of("--name", "name", "yes")).name == "yes"

    def test_a_wrong_override_is_named_as_it_was_given(self) -> None:
        for override in ("instance_count=many", 'model={path: "/no/such"}'):
            with pytest.raises(ManifestError) as refused:
                deployment("name: blue\n", override)
            (problem,) = refused.value.problems
            assert str(problem.position).startswith(f"--set {override}")
            assert problem.message.count("/no/such") <= 1
        with pytest.raises(ManifestError, match=r"^--set instance_count=many: `instance_count` must be"):
            deployment("name: blue\n", "instance_count=many")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: blue\ninstance_cuont: 1\n", "d.yml:2:1: unknown key `instance_cuont` (did you mean `instance_count`?)"),
        ("name: blue\nname: green\n", "d.yml:2:1: `name` is already given in line 1"),
        ("name: 1x\n", "d.yml:1:7: `name: 1x` is no valid name: 3 to 32 characters"),
        ("instance_count: 1\n", "d.yml:1:1: `name` is required"),
        ("name: [a]\n", "d.yml:1:7: `name` must be text, and this is a list"),
        ("name: blue\ninstance_count: many\n", "d.yml:2:17: `instance_count` must be a whole number, and this is 'many'"),
        ("name: blue\ninstance_count: 1.5\n", "d.yml:2:17: `instance_count` must be a whole number"),
        ("name: blue\ninstance_count: true\n", "d.yml:2:17: `instance_count` must be a whole number"),
        ("name: blue\ninstance_count: -1\n", "d.yml:2:17: `instance_count` must be 0 to 1000, and is '-1'"),
        ("name: blue\ninstance_count: .nan\n", "d.yml:2:17: `instance_count` must be a whole number"),
        ("name: blue\nrequest_settings: {request_timeout_ms: 180001}\n", "must be 1 to 180000"),
        ("name: blue\nliveness_probe: {period: 0}\n", "`liveness_probe.period` must be 1 to 3600"),
        ("name: blue\nliveness_probe: 5\n", "d.yml:2:17: `liveness_probe` must be a mapping, and this is '5'"),
        ("name: blue\nmodel: {path: modle}\n", "d.yml:2:15: there is no file or folder `modle` (did you mean `model`?)"),
        ("name: blue\nmodel: {}\n", "`model.path` is required"),
        ("name: blue\nmodel: azureml://registries/x/models/y/versions/1\n", "lives in another registry"),
        ("name: blue\nmodel: just-a-name\n", "is no reference: write azureml:NAME:VERSION"),
        ("name: blue\nmodel: azureml:m@stable\n", "the only label is 'latest'"),
        ("name: blue\nmodel: {path: azureml://datastores/x}\n", "is not on this machine"),
        ("name: blue\nmodel: {path: model, type: mlflow_model}\n", "MLflow is not served yet"),
        ("name: blue\nmodel: {path: model, type: custom}\n", "did you mean `custom_model`?"),
        ("name: blue\ncode_configuration: {code: srv, scoring_script: score.py}\n", "there is no folder `srv`"),
        ("name: blue\ncode_configuration: {code: model, scoring_script: score.py}\n", "is a file, and a folder is needed"),
        ("name: blue\ncode_configuration: {code: src, scoring_script: scor.py}\n", "did you mean `score.py`?"),
        ("name: blue\ncode_configuration: {code: src, scoring_script: ../x.py}\n", "must be a path inside the code folder"),
        ("name: blue\ncode_configuration: {scoring_script: score.py}\n", "`code_configuration.code` is required"),
        ("name: blue\nenvironment: {conda_file: cond.yml}\n", "there is no file `cond.yml` (did you mean `conda.yml`?)"),
        ("name: blue\nenvironment: {name: x}\n", "an environment needs a `conda_file` or an `image`"),
        ("name: blue\nenvironment: {image: x, build: {path: .}}\n", "images are not built here"),
        ("name: blue\nenvironment: {image: x, os_type: Windows}\n", "instances run on Linux"),
        ("name: blue\ntype: kubernetes\n", "it needs a platform on Kubernetes"),
        ("name: blue\nresources: {requests: {cpu: 1}}\n", "it needs a platform on Kubernetes"),
        ("name: blue\ndata_collector: {collections: {}}\n", "`data_collector` cannot be honoured"),
        ("name: blue\nscale_settings: {type: target_utilization, max_instances: 3}\n", "no automatic scaling yet"),
        ("name: blue\nscale_settings: {scale_type: auto}\n", "no automatic scaling yet"),
        ("name: blue\nscale_settings: {scale_type: manual, instance_count: 5, max_instances: 3}\n", "lies outside"),
        ("name: blue\nscale_settings: {type: default, polling_interval: 3}\n", "a setting of automatic scaling"),
        ("name: blue\nenvironment_variables: {PENSTOCK_HOME: x}\n", "the platform's own"),
        ("name: blue\nenvironment_variables: {'a=b': x}\n", "cannot be an environment variable's name"),
        ("name: blue\nauth_mode: key\n", "this file describes an endpoint, and a deployment is needed here"),
        ("", "d.yml: the file is empty"),
        ("- a\n", "d.yml:1:1: the file must hold a mapping"),
        ("name: [a\n", "d.yml:2:1: this is not YAML"),
        ("name: *x\n", "d.yml:1:7: this is not YAML: found undefined alias"),
        ("a: &x [*x]\n", "an alias contains itself"),
        ("name: \x00\n", "d.yml:1:7: this is not YAML"),
        ("? [a]\n: b\n", "a key must be plain text"),
        ("name: !!python/object:os.system x\n", "has no meaning here"),
    ],
)  # fmt: skip
def test_mistakes_in_a_deployment(text: str, expected: str) -> None:
    assert expected in mistakes(text)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: abc\ntraffic: {blue: 50}\n", "e.yml:2:1: traffic must sum to 100 (or be all 0), and blue 50 is 50"),
        ("name: abc\ntraffic: {blue: 101}\n", "e.yml:2:17: `traffic.blue` must be 0 to 100, and is '101'"),
        ("name: abc\ntraffic: {blue: 100}\ndeployments: [{name: bleu}]\n", "(did you mean `bleu`?)"),
        ("name: abc\nmirror_traffic: {a: 10, b: 10}\n", "goes to one deployment at most"),
        ("name: abc\nmirror_traffic: {a: 51}\n", "a mirror takes 1 to 50"),
        ("name: abc\ntraffic: {a: 100}\nmirror_traffic: {a: 10}\n", "'a' has live traffic"),
        ("name: abc\nauth_mode: aad_token\n", "there is no Azure Active Directory behind this platform"),
        ("name: abc\nauth_mode: keys\n", "`auth_mode` cannot be 'keys' (did you mean `key`?); it is one of: key, aml_token"),
        ("name: abc\ntype: batch\n", "batch endpoints are not served yet"),
        ("name: abc\ncompute: azureml:k8s\n", "it needs a platform on Kubernetes"),
        ("name: abc\ndeployments: {}\n", "`deployments` must be a list"),
        ("name: abc\ndeployments: [{name: blue}, {name: blue}]\n", "there are two deployments called `blue`"),
        ("name: abc\ndeployments: [{name: blue, endpoint_name: xyz}]\n", "names the endpoint `xyz`, and stands under `abc`"),
        ("name: abc\nendpoint_name: x\n", "this file describes a deployment, and an endpoint is needed here"),
        ("$schema: https://x/batchEndpoint.schema.json\nname: abc\n", "this file describes a batch endpoint"),
    ],
)  # fmt: skip
def test_mistakes_in_an_endpoint(text: str, expected: str) -> None:
    assert expected in mistakes(text, "endpoint")[0]


def test_a_required_key_that_is_misspelt_is_one_mistake() -> None:
    (only,) = mistakes("nam: abc\n", "endpoint")
    assert only == "e.yml:1:1: unknown key `nam` (did you mean `name`?)"


def test_every_mistake_is_named_in_the_order_of_the_file() -> None:
    found = mistakes("nam: x\ninstance_count: x\nmodel: {path: nothing}\ntags: 5\n")
    assert [line.split(": ")[0] for line in found] == [
        "d.yml:1:1",
        "d.yml:2:17",
        "d.yml:3:15",
        "d.yml:4:7",
    ]


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        ("def run(d): ...\n", ["init"]),
        ("x = 1\n", ["init", "run"]),
        ("from other import init, run\n", []),
        ("def init(): ...\ndef infer(inputs): ...\n", []),
        ("from other import *\n", []),
        ("import os as init\nrun = lambda d: d\n", []),
        ("if True:\n    def init(): ...\n    async def run(d): ...\n", []),
        ("def init(: broken for this Python\n", []),
    ],
)
def test_a_script_without_init_or_run(script: str, missing: list[str]) -> None:
    files = MemoryFiles(**{"src__score.py": script})
    text = "name: blue\ncode_configuration:\n  code: src\n  scoring_script: score.py\n"
    expected = [f"d.yml:4:3: `score.py` defines no {name}() function" for name in missing]
    assert (mistakes(text, files=files) if missing else []) == expected
    if not missing:
        assert deployment(text, files=files).code is not None


def test_a_few_lines_cannot_fill_the_memory() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, inner in zip("bcdefgh", "abcdefg", strict=True):
        bomb += f"{name}: &{name} [{', '.join(['*' + inner] * 10)}]\n"
    assert "the file holds more than 100000 values" in mistakes(bomb)[0]


def test_a_file_nested_too_deeply() -> None:
    assert "nested too deeply" in mistakes("a: " + "[" * 5000)[0]


def test_a_file_that_is_too_large() -> None:
    assert "larger than 1 MiB" in mistakes("#" * (1 << 20) + "\n")[0]


class TestRealFiles:
    def test_paths_are_relative_to_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "project" / "sub").mkdir(parents=True)
        (tmp_path / "project" / "m.pkl").touch()
        (tmp_path / "project" / "sub" / "d.yml").write_text("name: blue\nmodel: {path: ../m.pkl}\n")
        monkeypatch.chdir(tmp_path)
        read = manifest.load_deployment(Path("project/sub/d.yml")).value
        assert isinstance(read.model, manifest.ManifestModel)
        assert read.model.path.samefile(tmp_path / "project" / "m.pkl")
        assert str(read.at) == "project/sub/d.yml:1:1"

    @pytest.mark.parametrize(
        ("make", "expected"),
        [
            (lambda path: None, "there is no such file"),
            (lambda path: path.mkdir(), "this is a folder, and a YAML file is needed"),
            (lambda path: path.write_bytes(b"\xff\xfe\x00x"), "the file is not text"),
        ],
    )
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, make: object, expected: str) -> None:
        path = tmp_path / "d.yml"
        make(path)  # type: ignore[operator]
        with pytest.raises(ManifestError, match=expected):
            manifest.load_deployment(path)
