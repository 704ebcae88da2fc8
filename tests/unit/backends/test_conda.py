"""Conda files in the terms of a Python package index."""

import pytest

from controlplane.backends.environments import conda, requirements
from controlplane.backends.environments.conda_names import pypi_name
from controlplane.backends.environments.conda_specs import parse
from controlplane.backends.environments.wanted import EnvironmentFileError


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("numpy", "numpy", ""),
        ("numpy=*", "numpy", ""),
        ("numpy=1.18", "numpy", "==1.18.*"),
        ("numpy=1.18.*", "numpy", "==1.18.*"),
        ("numpy 1.18.*", "numpy", "==1.18.*"),
        ("numpy==1.18.1", "numpy", "==1.18.1"),
        ("numpy ==1.18.1", "numpy", "==1.18.1"),
        ("numpy 1.18.1", "numpy", "==1.18.1"),
        ("numpy 1.18.1 py38_0", "numpy", "==1.18.1"),
        ("numpy=1.18.1=py38_0", "numpy", "==1.18.1"),
        ("numpy>=1.18=py_0", "numpy", ">=1.18"),
        ("numpy >=1.18, <2", "numpy", "<2,>=1.18"),
        ("numpy=1.18,<2", "numpy", "<2,==1.18.*"),
        ("numpy!=1.18.*", "numpy", "!=1.18.*"),
        ("numpy~=1.18", "numpy", "~=1.18"),
        ("conda-forge::numpy=1.18", "numpy", "==1.18.*"),
        ("conda-forge/linux-64::numpy=1.18", "numpy", "==1.18.*"),
        ("numpy[version='>=1.2,<2']", "numpy", "<2,>=1.2"),
        ("python=3.8", "python", "==3.8.*"),
    ],
)
def test_match_specifications(text: str, name: str, specifier: str) -> None:
    spec = parse(text)
    assert (spec.name, spec.specifier, spec.lost) == (name, specifier, "")


def test_what_cannot_be_said_is_told() -> None:
    assert parse("numpy=1.2|1.3").lost == "'1.2|1.3' was read as '1.3'"
    assert parse("weird=1.1.1k").lost == "the version '1.1.1k' cannot be chosen"


@pytest.mark.parametrize("text", ["", "  ", "=1.2", "[version=1]", "a b c d\ne"])
def test_no_specification(text: str) -> None:
    with pytest.raises(EnvironmentFileError):
        parse(text)


@pytest.mark.parametrize(
    ("conda_name", "name"),
    [
        ("scikit-learn", "scikit-learn"),
        ("pytorch", "torch"),
        ("opencv", "opencv-python-headless"),
        ("py-xgboost", "xgboost"),
        ("PyYAML", "pyyaml"),
        ("python-dateutil", "python-dateutil"),
        ("python-graphviz", "graphviz"),
        ("pip", "pip"),
        ("mkl", None),
        ("libblas", None),
        ("cudatoolkit", None),
        ("cuda-cudart", None),
        ("_libgcc_mutex", None),
        ("_openmp_mutex", None),
        ("libgcc-ng", None),
        ("ca-certificates", None),
        ("mkl-service", "mkl-service"),
    ],
)
def test_names(conda_name: str, name: str | None) -> None:
    assert pypi_name(conda_name) == name


def test_a_whole_file() -> None:
    wanted = conda.read(
        """
        name: env
        channels: [defaults, conda-forge, pytorch]
        dependencies:
          - python=3.8
          - scikit-learn=0.22.1=py38_1
          - pytorch
          - blas
          - mkl
          - openssl=1.1.1k
          - pip=20.2.4
          - pip:
            - azureml-defaults>=1.0  # the server
            - --extra-index-url https://example.org/simple
            - six==1.16 ; python_version > "3"
        variables: {A: b}
        """
    )
    assert wanted.python == "==3.8.*"
    assert [each.line for each in wanted.packages] == [
        "scikit-learn==0.22.1",
        "torch",
        "pip==20.2.4.*",
        "azureml-defaults>=1.0",
        'six==1.16 ; python_version > "3"',
    ]
    assert wanted.options == ("--extra-index-url https://example.org/simple",)
    assert [(each.text, each.equivalent) for each in wanted.differences] == [
        ("packages come from the Python package index instead of the channels pytorch", True),
        ("the conda file's variables are not set (A): use environment_variables", False),
        ("blas, mkl are not installed: the packages that need them bring their own", True),
        ("openssl is not installed: the machine's own is used", True),
        ("scikit-learn is taken from the Python package index, which does not have conda's builds", True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dependencies: [a\nb: c", "not YAML, line"),
        ("- a", "no list of dependencies"),
        ("dependencies: {a: b}", "no list of dependencies"),
        ("dependencies: [{npm: [left-pad]}]", "npm"),
        ("dependencies: [1.5]", "1.5"),
        ("dependencies: [{pip: ['-r other.txt']}]", "names another file"),
        ("dependencies: [{pip: ['./local']}]", "a path on the machine"),
        ("dependencies: ['!!']", "not a conda package"),
        ("{" * 1500, "not YAML"),
    ],
)
def test_mistakes_are_told_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(EnvironmentFileError, match=message) as caught:
        conda.read(text)
    assert "\n" not in str(caught.value)


def test_a_file_without_dependencies_asks_for_nothing() -> None:
    assert conda.read("name: x\ndependencies:\n").packages == ()


def test_requirements_files() -> None:
    wanted = requirements.read(
        "\ufeff# models\nnumpy==1.26.4 \\\n    --hash=sha256:abc\n\n--index-url https://example.org/simple\n"
        "git+https://example.org/x.git@v1\n--prefer-binary\npandas[parquet]>=2,<3 # tables\n"
    )
    assert [each.line for each in wanted.packages] == [
        "numpy==1.26.4",
        "git+https://example.org/x.git@v1",
        "pandas[parquet]>=2,<3",
    ]
    assert wanted.options == ("--index-url https://example.org/simple",)


@pytest.mark.parametrize(
    "line", ["-r other.txt", "-e .", "--constraint c.txt", "not a requirement", "--no-such-option"]
)
def test_requirements_mistakes(line: str) -> None:
    with pytest.raises(EnvironmentFileError, match=line.split(maxsplit=1)[0]):
        requirements.read(f"six\n{line}\n")
