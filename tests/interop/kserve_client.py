# SPDX-License-Identifier: Apache-2.0
"""kserve_client.py ADDRESS: KServe's own Python client, with its own stubs of the six core calls, against a running
lstmd with the sample model. The environment's LSTMCTL speaks the native API, whose results it is compared with.
"""
import sys
import unittest

import grpc
import numpy
from kserve import InferInput, InferRequest, InferenceGRPCClient
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.infer_type import RequestedOutput

import suite

ADDRESS = sys.argv[1]
MODEL = suite.MODEL
SERIES = numpy.linspace(0, 2, 12, dtype=numpy.float32)


def tensor(values, name="INPUT", datatype="FP32", raw=True):
    if not raw:
        return InferInput(name, list(values.shape), datatype, values.flatten().tolist())
    result = InferInput(name, list(values.shape), datatype)
    result.set_data_from_numpy(values, binary_data=True)
    return result


class KServeTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = InferenceGRPCClient(ADDRESS)
        self.addAsyncCleanup(self.client.close)
        self.stub = self.client._client_stub  # the calls that the client has no method for

    async def infer(self, *inputs, **kwargs):
        return await self.client.infer(InferRequest(MODEL, list(inputs), **kwargs))

    async def fails(self, *inputs, **kwargs):
        with self.assertLogs("kserve.trace", "ERROR"), self.assertRaises(grpc.RpcError) as raised:
            await self.infer(*inputs, **kwargs)
        return raised.exception

    async def test_server_live_and_ready(self):
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())

    async def test_model_ready(self):
        self.assertTrue(await self.client.is_model_ready(MODEL))
        self.assertFalse(await self.client.is_model_ready("none"))

    async def test_server_metadata(self):
        metadata = await self.stub.ServerMetadata(messages.ServerMetadataRequest())
        self.assertEqual(metadata.name, "lstmd")
        self.assertIn("sequence", metadata.extensions)

    async def test_model_metadata(self):
        metadata = await self.stub.ModelMetadata(messages.ModelMetadataRequest(name=MODEL))
        self.assertEqual((metadata.name, list(metadata.versions), metadata.platform), (MODEL, ["1"], "lstmd"))
        for tensors, name in ((metadata.inputs, "INPUT"), (metadata.outputs, "OUTPUT")):
            self.assertEqual([(one.name, one.datatype, list(one.shape)) for one in tensors], [(name, "FP32", [-1, 1])])
        with self.assertRaises(grpc.RpcError) as raised:
            await self.stub.ModelMetadata(messages.ModelMetadataRequest(name="none"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    async def test_model_infer(self):
        batch = numpy.stack([SERIES, SERIES[::-1]])[:, :, None].copy()
        want = suite.native(ADDRESS, batch)
        for raw in (True, False):
            with self.subTest(raw=raw):
                response = await self.infer(tensor(batch, raw=raw), request_id="9")
                self.assertEqual((response.id, response.model_name, response.model_version), ("9", MODEL, "1"))
                output, = response.outputs
                self.assertEqual((output.name, output.datatype, output.shape), ("OUTPUT", "FP32", [2, 12, 1]))
                self.assertEqual(output.as_numpy().tobytes(), want.tobytes())

    async def test_types(self):
        batch = SERIES[None, :, None]
        lengths = numpy.array([5])
        for datatype, kind in (("INT32", numpy.int32), ("INT64", numpy.int64)):
            for raw in (True, False):
                with self.subTest(lengths=datatype, raw=raw):
                    response = await self.infer(tensor(batch, raw=raw),
                                                tensor(lengths.astype(kind), "lengths", datatype, raw))
                    got = response.outputs[0].as_numpy()
                    self.assertEqual(got[:, :5].tobytes(), suite.native(ADDRESS, batch[:, :5].copy()).tobytes())
                    self.assertFalse(got[:, 5:].any())
        half = await self.infer(tensor(batch.astype(numpy.float16), datatype="FP16"))
        self.assertEqual(half.outputs[0].datatype, "FP16")
        numpy.testing.assert_allclose(half.outputs[0].as_numpy(), suite.native(ADDRESS, batch), atol=2e-3)
        for datatype, kind in (("FP64", numpy.float64), ("INT8", numpy.int8), ("BOOL", numpy.bool_)):
            error = await self.fails(tensor(batch.astype(kind), datatype=datatype))
            self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(f"got '{datatype}', want FP32, FP16 or BF16", error.details())

    async def test_states_by_name(self):
        batch = SERIES[None, :, None]
        first = await self.infer(tensor(batch[:, :5].copy()),
                                 request_outputs=[RequestedOutput(name) for name in ("OUTPUT", "h_n", "c_n")])
        states = [tensor(first.outputs[i].as_numpy().copy(), name) for i, name in ((1, "h_0"), (2, "c_0"))]
        second = await self.infer(tensor(batch[:, 5:].copy()), *states)
        got = numpy.concatenate([one.outputs[0].as_numpy() for one in (first, second)], axis=1)
        self.assertEqual(got.tobytes(), suite.native(ADDRESS, batch).tobytes())

    async def test_sequence_in_parameters(self):
        got = []
        for i, value in enumerate(SERIES):
            response = await self.infer(
                tensor(numpy.array([[value]], numpy.float32)),
                parameters={"sequence_id": "kserve", "sequence_start": i == 0, "sequence_end": i == len(SERIES) - 1})
            got.append(response.outputs[0].as_numpy())
        self.assertEqual(numpy.concatenate(got).tobytes(), suite.native(ADDRESS, SERIES[None, :, None]).tobytes())

    async def test_errors(self):
        error = await self.fails(tensor(numpy.zeros((1, 3), numpy.float32)))
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("want [N, 1] or [N, T, 1]", error.details())
        error = await self.fails(tensor(numpy.zeros((1, 1), numpy.float32), "x"))
        self.assertIn("unexpected inference input", error.details())


if __name__ == "__main__":
    suite.main()
