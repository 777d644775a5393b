#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speech probabilities of a WAV file, a frame at a time, with the model's LSTM in an lstmd session.

The Silero VAD network of the PyPI package silero-vad is cut in three at its only LSTM node:

    encoder (here, ONNX Runtime)  ->  LSTM (lstmd, one session)  ->  decoder (here, ONNX Runtime)

so that this process keeps nothing of the stream: the state lives in the server, where it can be exported, moved and
resumed. Import the LSTM first, with the node's name:

    lstmctl import .../silero_vad/data/silero_vad_16k_sequence.onnx --node /recurrent/LSTM --name silero --repository models

Then every 32 ms of audio go through the three parts, and the result is compared with the package's own run of the
whole network. Exit status 1 when the largest difference is above --tolerance.

Needs silero-vad (its torch is not needed), onnx, onnxruntime, numpy, grpcio and grpcio-tools.
"""
import argparse
import importlib
import importlib.util
import pathlib
import queue
import sys
import tempfile
import types
import uuid
import wave

import grpc
import grpc_tools.protoc
import numpy as np
import onnx
import onnx.shape_inference
import onnx.utils
import onnxruntime

RATE = 16000


def stubs(proto):
    """The generated modules of the inference and session services, made from the .proto files."""
    folder = tempfile.mkdtemp(prefix="lstmd_stubs_")
    files = [str(p.relative_to(proto)) for d in ("google/rpc", "lstmd/v1") for p in sorted((proto / d).glob("*.proto"))]
    included = importlib.util.find_spec("grpc_tools").submodule_search_locations[0] + "/_proto"
    arguments = ["protoc", f"-I{proto}", f"-I{included}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    if grpc_tools.protoc.main(arguments) != 0:
        sys.exit("the .proto files cannot be compiled")
    sys.path.insert(0, folder)
    return tuple(importlib.import_module("lstmd.v1." + name)
                 for name in ("inference_service_pb2", "inference_service_pb2_grpc", "tensor_pb2"))


def package():
    """silero_vad.sequence_vad. The module itself needs no torch, but the package's __init__ imports it."""
    try:
        return importlib.import_module("silero_vad.sequence_vad")
    except ModuleNotFoundError as missing:
        if missing.name != "torch":
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "silero_vad"]:
        del sys.modules[name]
    outer = types.ModuleType("silero_vad")
    outer.__path__ = list(importlib.util.find_spec("silero_vad").submodule_search_locations)
    unused = types.ModuleType("silero_vad.utils_vad")
    unused.get_speech_timestamps_from_probs = None
    sys.modules.update({"silero_vad": outer, "silero_vad.utils_vad": unused})
    return importlib.import_module("silero_vad.sequence_vad")


def cut(path):
    """ONNX Runtime sessions of what comes before and after the LSTM node."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    node, = [n for n in model.graph.node if n.op_type == "LSTM"]
    parts = onnx.utils.Extractor(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def session(inputs, outputs):
        part = parts.extract_model(inputs, outputs).SerializeToString()
        return onnxruntime.InferenceSession(part, options, providers=["CPUExecutionProvider"])

    return session(["input"], [node.input[0]]), session([node.output[0]], ["speech_probs"])


def read_wav(path):
    """Mono float32 samples at RATE, by linear interpolation."""
    with wave.open(str(path)) as stream:
        if stream.getsampwidth() != 2:
            sys.exit(f"{path}: got {8 * stream.getsampwidth()} bits a sample, want 16")
        samples = np.frombuffer(stream.readframes(stream.getnframes()), "<i2").astype(np.float32) / 32768
        samples = samples.reshape(-1, stream.getnchannels()).mean(axis=1)
        rate = stream.getframerate()
    at = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    return np.interp(at, np.arange(len(samples)), samples).astype(np.float32)


class Stream:
    """One session, stepped over one bidirectional stream: a frame of audio is a step, answered before the next is sent."""

    def __init__(self, address, model, proto):
        self.messages, services, self.tensors = stubs(proto)
        self.channel = grpc.insecure_channel(address)
        self.requests = queue.SimpleQueue()
        self.sent = 0
        session = f"models/{model}/sessions/silero-{uuid.uuid4().hex[:12]}"
        bind = self.messages.Bind(handle=1, session=session, create_if_missing=True)
        self.requests.put(self.messages.StreamStepsRequest(binds=[bind]))
        self.replies = services.InferenceServiceStub(self.channel).StreamSteps(iter(self.requests.get, None))
        reply = next(self.replies)
        if reply.failures:
            sys.exit(f"{session}: {reply.failures[0].error.message}")

    def step(self, row):
        self.sent += 1
        tensor = self.tensors.Tensor(dtype=self.tensors.DATA_TYPE_F32, shape=[1, row.size], data=row.astype("<f4").tobytes())
        block = self.messages.StepBlock(id=self.sent, handles=[1], seqs=[self.sent], input=tensor)
        self.requests.put(self.messages.StreamStepsRequest(steps=[block]))
        for reply in self.replies:
            if reply.failures:
                sys.exit(f"step {self.sent}: {reply.failures[0].error.message}")
            for result in reply.results:
                return np.frombuffer(result.output.data, "<f4").reshape(result.output.shape)[0]
        sys.exit("the server ended the stream")

    def close(self):
        self.requests.put(self.messages.StreamStepsRequest(unbinds=[self.messages.Unbind(handle=1, delete_session=True)]))
        self.requests.put(None)
        for _ in self.replies:
            pass
        self.channel.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wav", type=pathlib.Path)
    parser.add_argument("--server", default="127.0.0.1:8001")
    parser.add_argument("--model", default="silero")
    parser.add_argument("--proto", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "proto")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    options = parser.parse_args()

    vad = package()
    path = pathlib.Path(vad.__file__).parent / "data" / "silero_vad_16k_sequence.onnx"
    samples = read_wav(options.wav)
    want = vad.SileroVADSequence(str(path)).audio_forward(samples)

    encoder, decoder = cut(path)
    stream = Stream(options.server, options.model, options.proto)
    got = []
    for frame in vad.frame_blocks(samples, *vad.RATE_CONFIG[RATE], max_frames=1):
        features, = encoder.run(None, {encoder.get_inputs()[0].name: frame})
        output = stream.step(features.reshape(-1))
        probability, = decoder.run(None, {decoder.get_inputs()[0].name: output.reshape(1, 1, 1, -1)})
        got.append(probability.item())
    stream.close()

    got = np.array(got, np.float32)
    if got.shape != want.shape or not got.size:
        sys.exit(f"got {got.size} frames, want {want.size}, and at least one")
    difference = float(np.abs(got - want).max())
    print(f"{got.size} frames of 32 ms, {int((want > 0.5).sum())} of them speech ({want.min():.4f} to {want.max():.4f})")
    print(f"largest difference to the package's own probabilities: {difference:.3g} (at most {options.tolerance:g})")
    return 0 if difference <= options.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
