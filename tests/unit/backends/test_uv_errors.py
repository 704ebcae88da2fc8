"""uv's own words, as it wrote them, and what is made of them."""

import pytest

from controlplane.backends.process.uv_errors import Obstacle, explain

TAG = """error: No solution found when resolving dependencies
  cause: Because tensorflow==1.15.0 has no wheels with a matching Python ABI tag (e.g., `cp311`) and you require tensorflow==1.15, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because scikit-learn==0.22.1 has no usable wheels and you require scikit-learn==0.22.1, we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for `scikit-learn` because building from source is disabled for all packages (i.e., with `--no-build`)
"""  # noqa: E501
NO_VERSION = """error: No solution found when resolving dependencies
  cause: Because there is no version of six==9.9.9 and you require six==9.9.9, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501
NO_VERSION_LIKE_IT = """error: No solution found when resolving dependencies
  cause: Because only the following versions of six are available:
             six<1.15.9.dev0
             six>1.15.10.dev0
         and you require six==1.15.9.*, we can conclude that your requirements are unsatisfiable.
"""
NO_PACKAGE = """error: No solution found when resolving dependencies
  cause: Because nope was not found in the package registry and you require nope, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501
CONFLICT = """error: No solution found when resolving dependencies
  cause: Because requests==2.20.0 depends on urllib3>=1.21.1,<1.25 and you require requests==2.20.0, we can conclude that you require urllib3>=1.21.1,<1.25.
         And because you require urllib3==2.2.0, we can conclude that your requirements are unsatisfiable.
"""  # noqa: E501
BUILD = """error: Failed to build `pycocotools==2.0.1`
  cause: The build backend returned an error
"""
NETWORK = """error: Failed to fetch: http://127.0.0.1:9/simple/six/
  cause: error sending request for url (http://127.0.0.1:9/simple/six/)
  cause: tcp connect error
"""
REFUSED = """error: Failed to fetch: `https://example.org/simple/six/`
  cause: HTTP status client error (401 Unauthorized) for url (https://example.org/simple/six/)
"""


@pytest.mark.parametrize(
    ("output", "obstacle", "packages", "sentence"),
    [
        (TAG, Obstacle.NO_WHEEL, ("tensorflow",), "there is no build of tensorflow==1.15.0 for this Python"),
        (NO_WHEEL, Obstacle.NO_WHEEL, ("scikit-learn",), "there is no build of scikit-learn==0.22.1 for this Python"),
        (NO_VERSION, Obstacle.NO_VERSION, ("six",), "there is no six==9.9.9 on the package index"),
        (NO_VERSION_LIKE_IT, Obstacle.NO_VERSION, ("six",), "there is no six==1.15.9.* on the package index"),
        (NO_PACKAGE, Obstacle.NO_PACKAGE, ("nope",), "there is no package 'nope' on the package index"),
        (CONFLICT, Obstacle.CONFLICT, ("requests", "urllib3"), "requests==2.20.0 depends on urllib3"),
        (BUILD, Obstacle.BUILD_FAILED, ("pycocotools",), "pycocotools==2.0.1 has to be built from source"),
        (NETWORK, Obstacle.NETWORK, (), "the package index cannot be reached"),
        (REFUSED, Obstacle.REFUSED, (), "the package index answered 401"),
        ("error: No space left on device (os error 28)", Obstacle.DISK_FULL, (), "the disk is full"),
        ("error: something new\n", Obstacle.OTHER, (), "something new"),
    ],
)
def test_messages(output: str, obstacle: Obstacle, packages: tuple[str, ...], sentence: str) -> None:
    error = explain(output)
    assert (error.obstacle, error.packages) == (obstacle, packages)
    assert sentence in str(error)
    assert "\n" not in str(error)
