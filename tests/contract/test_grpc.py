"""gRPC beside HTTP: as soon as an instance is ready, through its workers' deaths and its control plane's."""

import os
import signal
from dataclasses import replace
from typing import Any

import grpc
import pytest
from penstock_scorer.grpc.generated import inference_pb2 as pb

from controlplane.domain.instances import InstanceObservation, InstanceState, InstanceTemplate
from controlplane.domain.ports import Backend
from controlplane.domain.specs import EnvironmentSpec, RequestSettings
from tests.contract.harness import KEY, Harness, policy, template, until

pytestmark = pytest.mark.integration
ID = "abcdefghij01"
READY = InstanceState.READY
PID = """
import os
import numpy as np

def init(): pass
def infer(inputs): return {"pid": np.array([os.getpid()])}
"""


async def launch(backend: Backend, made: InstanceTemplate) -> InstanceObservation:
    await backend.start(ID, made, await backend.prepare(made, lambda _: None), policy())
    return await until(backend, ID, READY)


async def infer(address: str, key: str = KEY, **options: Any) -> int:
    """The pid of the worker that answers there."""
    request = pb.ModelInferRequest(inputs=[{"name": "x", "datatype": "INT8", "shape": [1]}], model_name="house")
    request.raw_input_contents.append(b"\0")
    async with grpc.aio.insecure_channel(f"unix:{address.removeprefix('unix://')}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        metadata = (("authorization", f"Bearer {key}"),)
        answer = await call(request.SerializeToString(), metadata=metadata, timeout=20, **options)
    return int.from_bytes(pb.ModelInferResponse.FromString(answer).raw_output_contents[0], "little")


async def test_a_ready_instance_answers_grpc_to_whom_it_answers_http(backend: Backend, harness: Harness) -> None:
    seen = await launch(backend, template(harness, PID))
    (address,) = seen.grpc_addresses
    assert await infer(address)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await infer(address, key="wrong")
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    await backend.stop(ID, 10)
    assert harness.left() == []


async def test_every_worker_has_an_address_and_keeps_it(backend: Backend, harness: Harness) -> None:
    made = template(harness, PID, environment_variables={"WORKER_COUNT": "3"})
    # It may run two requests at once, so the third worker would be idle and is not started.
    seen = await launch(backend, made_for(made, concurrent=2))
    workers = [await infer(address) for address in seen.grpc_addresses]
    assert len(set(workers)) == 2
    os.kill(workers[0], signal.SIGKILL)
    successor = await infer(seen.grpc_addresses[0], wait_for_ready=True)
    assert successor not in workers
    assert (await backend.observe())[ID].grpc_addresses == seen.grpc_addresses


async def test_a_successor_finds_them(backend: Backend, harness: Harness) -> None:
    made = template(harness, PID, environment_variables={"WORKER_COUNT": "2"})
    seen = await launch(backend, made_for(made, concurrent=2))
    successor = harness.make()
    try:
        assert (await successor.observe())[ID].grpc_addresses == seen.grpc_addresses
        for address in seen.grpc_addresses:
            assert await infer(address)
    finally:
        await successor.close()


async def test_packages_that_leave_no_room_for_grpc_are_served_all_the_same(backend: Backend, harness: Harness) -> None:
    made = template(harness, environment=EnvironmentSpec(pip_requirements="protobuf==3.20.3"), strict_environment=True)
    preparation = await backend.prepare(made, lambda _: None)
    (told,) = preparation.differences
    assert told.startswith("gRPC is not answered, HTTP alone: the packages contradict each other")
    await backend.start(ID, made, preparation, policy())
    assert (await until(backend, ID, READY)).grpc_addresses == ()


def made_for(made: InstanceTemplate, *, concurrent: int) -> InstanceTemplate:
    settings = RequestSettings(max_concurrent_requests_per_instance=concurrent)
    return replace(made, request_settings=settings)
