# SPDX-License-Identifier: Apache-2.0
"""Clients of the cluster test: each session is stepped in order, and every step is tried until it is answered, under one
number. Half of the sessions step by unary calls, half through a stream of their own."""
import queue
import struct
import threading
import time

import grpc

from lstmd.v1 import inference_service_pb2 as pb
from lstmd.v1 import inference_service_pb2_grpc, tensor_pb2

PATIENCE = 240.0  # for one step, through every disturbance
# What a client may try again: the server never saw it, is about to end, has handed the session on, or is being replaced.
AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN,
         grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL}


def value(session, step):
    """Input of a step: sunspots / 100, made up."""
    return ((session * 7919 + step * 104729) % 2000) / 1000.0


def tensor(session, step, rank):
    return tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_F32, shape=[1] * rank, data=struct.pack("<f", value(session, step)))


def name(session):
    return f"models/sunspots/sessions/c{session}"


class Load:
    def __init__(self, address, sessions, steps, threads, seqs_per_call=1):
        self.address, self.sessions, self.steps, self.threads = address, sessions, steps, threads
        self.outputs = [[None] * steps for _ in range(sessions)]
        self.answered = 0
        self.tries = 0
        self.replayed = 0
        self.errors = []
        self.lock = threading.Lock()
        self.progress = threading.Condition(self.lock)

    def note(self, session, step, output, replayed):
        with self.lock:
            self.outputs[session][step - 1] = output
            self.answered += 1
            self.replayed += replayed
            self.progress.notify_all()

    def wait_for(self, share):
        """Until this share of all steps is answered, or a client has given up."""
        with self.lock:
            while self.answered < share * self.sessions * self.steps and not self.errors:
                self.progress.wait(1.0)

    def unary(self, stub, session):
        for step in range(1, self.steps + 1):
            request = pb.StepRequest(items=[pb.StepItem(session=name(session), create_if_missing=True, seq=step,
                                                        input=tensor(session, step, 1))])
            end = time.monotonic() + PATIENCE
            while True:
                with self.lock:
                    self.tries += 1
                try:
                    result = stub.Step(request, timeout=10, metadata=[("lstmd-session", name(session))]).results[0]
                    self.note(session, step, result.output.data, result.replayed)
                    break
                except grpc.RpcError as error:
                    if error.code() not in AGAIN or time.monotonic() > end:
                        raise RuntimeError(f"session {session}, step {step}: {error.code()} {error.details()}") from error
                    threading.Event().wait(0.02)

    def stream(self, stub, session):
        step, end = 1, time.monotonic() + PATIENCE
        while step <= self.steps:
            with self.lock:
                self.tries += 1
            requests = queue.SimpleQueue()
            call = stub.StreamSteps(iter(requests.get, None), metadata=[("lstmd-session", name(session))])
            watchdog = threading.Timer(15, call.cancel)  # a reply that is lost: the stream is opened anew
            watchdog.start()
            requests.put(pb.StreamStepsRequest(binds=[pb.Bind(handle=0, session=name(session), create_if_missing=True)]))
            why = "the stream ended"
            try:
                for response in call:
                    if response.failures:
                        why = response.failures[0].error.message
                        break
                    for result in response.results:
                        self.note(session, step, result.output.data, any(result.replayed))
                        step, end = step + 1, time.monotonic() + PATIENCE
                    if (response.bound or response.results) and step <= self.steps:
                        block = pb.StepBlock(handles=[0], seqs=[step], input=tensor(session, step, 2))
                        requests.put(pb.StreamStepsRequest(steps=[block]))
                    if step > self.steps or response.HasField("go_away"):
                        break
            except grpc.RpcError as error:
                why = f"{error.code()} {error.details()}"
            watchdog.cancel()
            requests.put(None)
            call.cancel()
            if time.monotonic() > end:
                raise RuntimeError(f"session {session}, step {step}: {why}")
            if step <= self.steps:
                threading.Event().wait(0.02)

    def worker(self, numbers):
        with grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = inference_service_pb2_grpc.InferenceServiceStub(channel)
            for session in numbers:
                try:
                    (self.stream if session % 2 else self.unary)(stub, session)
                except Exception as error:  # pylint: disable=broad-except
                    with self.lock:
                        self.errors.append(str(error))
                        self.progress.notify_all()
                    return

    def start(self):
        self.running = [threading.Thread(target=self.worker, args=(range(first, self.sessions, self.threads),))
                        for first in range(self.threads)]
        for thread in self.running:
            thread.start()

    def join(self):
        for thread in self.running:
            thread.join()
