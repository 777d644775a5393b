# SPDX-License-Identifier: Apache-2.0
"""The LSTM in Triton's Python backend: the steps of a batch in one call of ONNX Runtime, the states here by sequence."""
import pathlib

import numpy
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        path = pathlib.Path(args["model_repository"], args["model_version"], "lstm.onnx")
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.states = {}

    def execute(self, requests):
        inputs, ids, ends = [], [], []
        for request in requests:
            def control(name, request=request):
                return triton.get_input_tensor_by_name(request, name).as_numpy().flat[0]
            one = triton.get_input_tensor_by_name(request, "INPUT").as_numpy()
            sequence = int(control("CORRID"))
            if control("START") or sequence not in self.states:
                self.states[sequence] = numpy.zeros((2, one.shape[-1]), numpy.float32)
            inputs.append(one.reshape(-1))
            ids.append(sequence)
            ends.append(control("END"))
        states = numpy.stack([self.states[sequence] for sequence in ids], axis=1)
        hidden, cell = self.session.run(None, {"X": numpy.stack(inputs)[None], "h_0": states[:1], "c_0": states[1:]})
        responses = []
        for row, (sequence, end) in enumerate(zip(ids, ends)):
            if end:
                del self.states[sequence]
            else:
                self.states[sequence] = numpy.concatenate([hidden[:, row], cell[:, row]])
            responses.append(triton.InferenceResponse([triton.Tensor("OUTPUT", hidden[:, row])]))
        return responses
