import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controlplane.domain.ports import Backend
from tests.contract.harness import FolderAssets, Harness, ProcessHarness


@pytest.fixture(scope="session")
def environments() -> Iterator[Path]:
    """Environments are built once for the whole suite, as they are once for a platform."""
    folder = Path(tempfile.mkdtemp(prefix="pse-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["process"])
def harness(request: pytest.FixtureRequest, environments: Path) -> Iterator[Harness]:
    """One for each backend. Socket paths are short, so the home is not below pytest's deep folder."""
    home = Path(tempfile.mkdtemp(prefix="psh-"))
    (home / "environments").symlink_to(environments)
    yield ProcessHarness(home, FolderAssets(home / "blobs"))
    shutil.rmtree(home)


@pytest.fixture
async def backend(harness: Harness) -> AsyncIterator[Backend]:
    """A backend whose instances are ended when the test is."""
    backend = harness.make()
    yield backend
    for instance in await backend.observe():
        await backend.stop(instance, 0)
    await backend.close()
    assert harness.left() == []
