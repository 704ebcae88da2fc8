"""Making changes and waiting for them, as several commands do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from penstock import manifest
from penstock.cli.context import Context
from penstock.errors import AlreadyExistsError, NotFoundError, OperationFailedError, PenstockError
from penstock.v1 import common_pb2
from penstock.v1.deployment_pb2 import Deployment

if TYPE_CHECKING:
    from penstock.client import Operation

T = TypeVar("T")


def finish(context: Context, what: str, operation: Operation[T]) -> T:
    """Wait for ``operation`` and show its progress. When interrupted, the user learns that it goes on."""
    try:
        with context.console.working(what) as say:
            return operation.wait(progress=say)
    except KeyboardInterrupt:
        context.console.note(f"{what} goes on ({operation.name})")
        raise


def note_all(context: Context, notes: Iterable[str]) -> None:
    """Say what reading a file brought up."""
    for text in notes:
        context.console.note(text)


def refuse_existing_deployment(context: Context, endpoint: str, name: str) -> None:
    """Before anything is sent: the endpoint must be there, the deployment must not.

    Raises:
        NotFoundError: there is no such endpoint.
        AlreadyExistsError: there is such a deployment.
    """
    context.client.endpoints.get(endpoint)
    try:
        context.client.deployments.get(endpoint, name)
    except NotFoundError:
        return
    raise AlreadyExistsError(
        f"'{endpoint}' already has a deployment '{name}'",
        code="ALREADY_EXISTS",
        reason="ALREADY_EXISTS",
        hint="`penstock online-deployment update` changes it",
    )


def publish(context: Context, deployment: manifest.ManifestDeployment) -> Deployment:
    """Upload and register what the deployment names."""
    with context.console.working(f"preparing '{deployment.name}'") as say:
        return context.client.publisher.deployment(deployment, progress=say)


def create_deployment(
    context: Context, endpoint: str, deployment: manifest.ManifestDeployment, *, keep_failed: bool = False
) -> Deployment:
    """Create a deployment and wait until it answers. One that cannot is removed again: nothing is left half-made.

    Raises:
        OperationFailedError: it cannot answer; the message and the detail are the cause.
    """
    message = publish(context, deployment)
    operation = context.client.deployments.create(endpoint, deployment.name, message)
    return finish_new(context, endpoint, deployment.name, operation, keep_failed=keep_failed)


def finish_new(
    context: Context, endpoint: str, name: str, operation: Operation[Deployment], *, keep_failed: bool = False
) -> Deployment:
    """Wait for a deployment that is being created. One that cannot answer is removed again.

    Raises:
        OperationFailedError: it cannot answer; the message and the detail are the cause.
    """
    try:
        made = finish(context, f"creating deployment '{name}'", operation)
    except OperationFailedError as error:
        if keep_failed:
            error.hint = error.hint or f"`penstock online-deployment get-logs -e {endpoint} -n {name}`"
        else:
            _remove(context, endpoint, name, error)
        raise
    note_differences(context, made)
    return made


def note_differences(context: Context, deployment: Deployment, before: Deployment | None = None) -> None:
    """Say what differs from what was asked for, such as another Python version, if it did not differ before."""
    known = {condition.message for condition in before.conditions} if before is not None else set()
    for condition in deployment.conditions:
        if (
            condition.status == common_pb2.CONDITION_STATUS_TRUE
            and condition.message
            and condition.message not in known
        ):
            context.console.note(condition.message)
            if condition.detail:
                context.console.done(condition.detail)


def confirm(context: Context, question: str, *, yes: bool) -> None:
    """Ask before something is deleted.

    Raises:
        PenstockError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not context.console.interactive:
        raise PenstockError(f"{question} Nobody is there to answer", hint="say --yes")
    context.console.ask(f"{question} [y/N] ")
    if input().strip().lower() not in ("y", "yes"):
        raise PenstockError("nothing was deleted")


def read_request(path: Path) -> bytes:
    """The content of a request file.

    Raises:
        PenstockError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise PenstockError(f"the request file {path} cannot be read: {error.strerror}") from None


def _remove(context: Context, endpoint: str, name: str, cause: OperationFailedError) -> None:
    try:
        finish(context, f"removing '{name}' again", context.client.deployments.delete(endpoint, name))
    except PenstockError as error:
        context.console.note(f"'{name}' could not be removed again: {error}")
    else:
        said = "the deployment was removed again; with --keep-failed it stays, and its logs with it"
        cause.hint = f"{cause.hint}; {said}" if cause.hint else said
