#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One LSTM layer (I = H, float32) in another framework, timed on request.

Usage: peer_worker.py onnxruntime|torch THREADS
Reads lines {"H": 128, "T": 1, "N": 8, "seconds": 0.05}, answers {"us": shortest call}. The first line it writes says
the version. Exit status 77 when the framework is not installed.
"""
import json
import sys
import time


def onnx_model(hidden):
    import numpy
    from onnx import TensorProto, helper, numpy_helper

    random = numpy.random.RandomState(0)

    def weight(name, *shape):
        return numpy_helper.from_array((random.randn(*shape) * 0.05).astype(numpy.float32), name)

    def value(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node("LSTM", ["X", "W", "R", "B", "", "h0", "c0"], ["Y", "Y_h", "Y_c"], hidden_size=hidden)
    state = [1, "N", hidden]
    graph = helper.make_graph([node], "lstm", [value("X", ["T", "N", hidden]), value("h0", state), value("c0", state)],
                              [value(name, None) for name in ("Y", "Y_h", "Y_c")],
                              [weight("W", 1, 4 * hidden, hidden), weight("R", 1, 4 * hidden, hidden),
                               weight("B", 1, 8 * hidden)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    return model.SerializeToString()


def feed(request):
    import numpy
    hidden, steps, batch = request["H"], request["T"], request["N"]
    state = numpy.zeros((1, batch, hidden), numpy.float32)
    return {"X": numpy.random.randn(steps, batch, hidden).astype(numpy.float32), "h0": state, "c0": state}


class OnnxRuntime:
    def __init__(self, threads):
        import onnx  # noqa: F401: models are made with it
        import onnxruntime
        self.runtime, self.threads, self.sessions = onnxruntime, threads, {}
        self.version = f"ONNX Runtime {onnxruntime.__version__}"

    def prepare(self, request):
        hidden = request["H"]
        if hidden not in self.sessions:
            options = self.runtime.SessionOptions()
            options.intra_op_num_threads = self.threads
            self.sessions = {hidden: self.runtime.InferenceSession(onnx_model(hidden), options,
                                                                   providers=["CPUExecutionProvider"])}
        session, inputs = self.sessions[hidden], feed(request)
        return lambda: session.run(None, inputs)


class Torch:
    def __init__(self, threads):
        import torch
        torch.set_num_threads(threads)
        self.torch, self.layers = torch, {}
        self.version = f"PyTorch {torch.__version__}"

    def prepare(self, request):
        hidden = request["H"]
        if hidden not in self.layers:
            self.layers = {hidden: self.torch.nn.LSTM(hidden, hidden).eval()}
        layer = self.layers[hidden]
        tensors = {name: self.torch.from_numpy(value) for name, value in feed(request).items()}

        def call():
            with self.torch.inference_mode():
                layer(tensors["X"], (tensors["h0"], tensors["c0"]))
        return call


def shortest(call, seconds):
    for _ in range(2):
        call()
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("onnxruntime", "torch"):
        sys.exit(__doc__)
    try:
        peer = {"onnxruntime": OnnxRuntime, "torch": Torch}[sys.argv[1]](int(sys.argv[2]))
    except ImportError as error:
        print(json.dumps({"skipped": str(error)}), flush=True)
        sys.exit(77)
    print(json.dumps({"version": peer.version}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"us": 1e6 * shortest(peer.prepare(request), request["seconds"])}), flush=True)


if __name__ == "__main__":
    main()
