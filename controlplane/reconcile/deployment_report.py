"""What users are told of a deployment: one state, and conditions whose messages name the cause. Pure."""

from __future__ import annotations

from datetime import datetime

from controlplane.domain.deployment_plan import Attempts, DeploymentPlan
from controlplane.domain.ports import PreparationError
from controlplane.domain.records import DeploymentRecord, Report
from controlplane.domain.status import Condition, ConditionStatus, ConditionType, ProvisioningState
from controlplane.reconcile.preparations import PreparationProgress


def deployment_report(
    deployment: DeploymentRecord,
    plan: DeploymentPlan,
    attempts: Attempts,
    *,
    progress: PreparationProgress | None,
    launch_error: PreparationError | None,
    ready: int,
    now: datetime,
) -> Report:
    """The report on a deployment.

    Args:
        deployment: as stored, with the previous report.
        plan: what is to be done; settled when nothing is.
        attempts: failures in a row of the present template.
        progress: of the environment; None while the deployment is being deleted.
        launch_error: why an instance could not be launched just now.
        ready: instances that answer.
        now: the present moment.
    """
    environment = _environment(progress)
    instances = _instances(deployment, plan, attempts, launch_error, ready)
    state = _state(deployment, plan, attempts, progress)
    conditions = [c.since(deployment.report.conditions, now) for c in (environment, instances) if c is not None]
    return Report(deployment.generation, state, tuple(conditions))


def report_at_start(deployment: DeploymentRecord, ready: int, now: datetime) -> Report:
    """What is known of a deployment that fewer instances answer for than when the last control plane ended.

    Its state is the last verdict, as always while instances are being replaced.
    """
    report = deployment.report
    starting = _starting(ready, deployment.spec.instance_count).since(report.conditions, now)
    others = [condition for condition in report.conditions if condition.type is not starting.type]
    return Report(deployment.generation, report.state, (*others, starting))


def still_to_come(report: Report) -> str:
    """What is being waited for, one line; empty when nothing is, be it that it failed."""
    if report.state is ProvisioningState.FAILED:
        return ""
    waiting = (c.message for c in report.conditions if c.status is not ConditionStatus.TRUE and c.message)
    return next(waiting, "")


def _state(
    deployment: DeploymentRecord, plan: DeploymentPlan, attempts: Attempts, progress: PreparationProgress | None
) -> ProvisioningState:
    if deployment.deleting:
        return ProvisioningState.DELETING
    if plan.settled:
        return ProvisioningState.SUCCEEDED
    if attempts.exhausted or (progress is not None and progress.failed is not None and not progress.failed.transient):
        return ProvisioningState.FAILED
    # On its way: the state the change was accepted with; or the last verdict, while an instance is being replaced.
    return deployment.report.state


def _environment(progress: PreparationProgress | None) -> Condition | None:
    kind = ConditionType.ENVIRONMENT_READY
    if progress is None:
        return None
    if progress.done is not None:
        differences = progress.done.differences
        if differences:
            told = "runs with differences from what was asked for: " + "; ".join(differences)
            return Condition(kind, ConditionStatus.TRUE, "Differs", told)
        return Condition(kind, ConditionStatus.TRUE, "Ready")
    if progress.failed is not None:
        failed = progress.failed
        status = ConditionStatus.UNKNOWN if failed.transient else ConditionStatus.FALSE
        again = " (trying again)" if failed.transient else ""
        return Condition(kind, status, failed.reason, f"{failed}{again}", failed.detail)
    return Condition(kind, ConditionStatus.UNKNOWN, "Preparing", progress.line)


def _instances(
    deployment: DeploymentRecord,
    plan: DeploymentPlan,
    attempts: Attempts,
    launch_error: PreparationError | None,
    ready: int,
) -> Condition:
    kind, count = ConditionType.INSTANCES_READY, deployment.spec.instance_count
    if deployment.deleting:
        return Condition(kind, ConditionStatus.UNKNOWN, "Draining", "the instances finish what they have")
    if plan.settled:
        return Condition(kind, ConditionStatus.TRUE, "Ready")
    if launch_error is not None:
        return Condition(
            kind, ConditionStatus.FALSE, launch_error.reason, f"{launch_error} (trying again)", launch_error.detail
        )
    if attempts.latest is not None and attempts.failures > 0:
        failure = attempts.latest
        tries = f" ({attempts.failures} times in a row)" if attempts.failures > 1 else ""
        return Condition(kind, ConditionStatus.FALSE, failure.reason, f"{failure.message}{tries}", failure.detail)
    if plan.serving < ready:
        return Condition(kind, ConditionStatus.UNKNOWN, "Routing", "waiting for the gateway to route to the instances")
    return _starting(plan.serving, count)


def _starting(answering: int, count: int) -> Condition:
    told = f"{answering} of {count} instances answer"
    return Condition(ConditionType.INSTANCES_READY, ConditionStatus.UNKNOWN, "Starting", told)
