# SPDX-License-Identifier: Apache-2.0
"""stock_clients.py ADDRESS PERF_ANALYZER: what Triton's own clients do against a running lstmd with the sample model.

The environment's LSTMCTL speaks the native API, whose results theirs are compared with, bit by bit.
"""
import queue
import subprocess
import sys
import unittest

import numpy
import tritonclient.grpc as triton

import suite

ADDRESS, PERF_ANALYZER = sys.argv[1:3]
MODEL = suite.MODEL
SERIES = numpy.linspace(0, 2, 12, dtype=numpy.float32)
TIMEOUT = suite.TIMEOUT


def tensor(values, name="INPUT", datatype="FP32"):
    result = triton.InferInput(name, list(values.shape), datatype)
    result.set_data_from_numpy(values)
    return result


def step(value):
    return [tensor(numpy.array([[value]], dtype=numpy.float32))]


def native(batch):
    return suite.native(ADDRESS, batch)


class StockClientTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(ADDRESS)
        self.addCleanup(self.client.close)

    def assert_same_bits(self, got, want):
        self.assertEqual(got.shape, want.shape)
        self.assertEqual(got.tobytes(), want.tobytes())

    def fails(self, text, *args, **kwargs):
        with self.assertRaises(triton.InferenceServerException) as raised:
            self.client.infer(MODEL, *args, **kwargs)
        self.assertIn(text, raised.exception.message())
        return raised.exception


class UnaryTest(StockClientTest):
    def test_health_and_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready(MODEL))
        self.assertFalse(self.client.is_model_ready("none"))
        self.assertIn("sequence", self.client.get_server_metadata().extensions)
        metadata = self.client.get_model_metadata(MODEL, as_json=True)
        self.assertEqual([one["name"] for one in metadata["inputs"] + metadata["outputs"]], ["INPUT", "OUTPUT"])
        config = self.client.get_model_config(MODEL).config
        self.assertEqual(config.WhichOneof("scheduling_choice"), "sequence_batching")
        index = self.client.get_model_repository_index()
        self.assertEqual([(one.name, one.state) for one in index.models], [(MODEL, "READY")])
        self.client.load_model(MODEL)

    def test_batch_of_sequences(self):
        batch = numpy.stack([SERIES, SERIES[::-1]])[:, :, None].copy()
        result = self.client.infer(MODEL, [tensor(batch)], request_id="9")
        self.assert_same_bits(result.as_numpy("OUTPUT"), native(batch))
        self.assertEqual(result.get_response().id, "9")
        self.assertEqual(result.get_response().model_version, "1")

    def test_states_by_name(self):
        batch = SERIES[None, :, None]
        outputs = [triton.InferRequestedOutput(name) for name in ("OUTPUT", "h_n", "c_n")]
        first = self.client.infer(MODEL, [tensor(batch[:, :5].copy())], outputs=outputs)
        self.assertEqual(first.as_numpy("h_n").shape, (1, 1, 64))
        second = self.client.infer(MODEL, [tensor(batch[:, 5:].copy()), tensor(first.as_numpy("h_n"), "h_0"),
                                           tensor(first.as_numpy("c_n"), "c_0")])
        got = numpy.concatenate([first.as_numpy("OUTPUT"), second.as_numpy("OUTPUT")], axis=1)
        self.assert_same_bits(got, native(batch))

    def test_sequence(self):
        for sequence in (11, "unary-text"):
            got = [self.client.infer(MODEL, step(value), sequence_id=sequence, sequence_start=i == 0,
                                     sequence_end=i == len(SERIES) - 1).as_numpy("OUTPUT")
                   for i, value in enumerate(SERIES)]
            self.assert_same_bits(numpy.concatenate(got)[None], native(SERIES[None, :, None]))
            self.fails("must specify the START flag", step(1), sequence_id=sequence)

    def test_repeated_step(self):
        self.client.infer(MODEL, step(1), sequence_id=12, sequence_start=True)
        results = [self.client.infer(MODEL, step(2), sequence_id=12, parameters={"lstmd_seq": 1}) for _ in range(2)]
        self.assert_same_bits(results[0].as_numpy("OUTPUT"), results[1].as_numpy("OUTPUT"))
        self.assertTrue(results[1].get_response().parameters["lstmd_replayed"].bool_param)

    def test_errors(self):
        self.fails("want [N, 1] or [N, T, 1]", [tensor(numpy.zeros([1, 3], dtype=numpy.float32))])
        self.fails("datatype of input 'INPUT'", [tensor(numpy.zeros([1, 1], dtype=numpy.int32), datatype="INT32")])
        self.fails("unexpected inference input", [tensor(numpy.zeros([1, 1], dtype=numpy.float32), "x")])
        self.fails("unexpected inference output", step(1), outputs=[triton.InferRequestedOutput("y")])
        self.assertEqual(self.fails("is not loaded", step(1), model_version="7").status(), "StatusCode.NOT_FOUND")
        with self.assertRaises(triton.InferenceServerException) as raised:
            self.client.get_trace_settings()
        self.assertEqual(raised.exception.status(), "StatusCode.UNIMPLEMENTED")

    def test_statistics(self):
        def count():
            return self.client.get_inference_statistics(MODEL).model_stats[0].inference_stats.queue.count
        before = count()
        self.client.infer(MODEL, step(1))
        self.assertEqual(count(), before + 1)


class StreamTest(StockClientTest):
    def setUp(self):
        super().setUp()
        self.replies = queue.Queue()
        self.client.start_stream(lambda result, error: self.replies.put((result, error)))
        self.addCleanup(self.client.stop_stream)

    def next(self):
        return self.replies.get(timeout=TIMEOUT)

    def test_interleaved_sequences(self):
        sequences = (21, "stream-text", 2**63 - 1)
        for i, value in enumerate(SERIES):
            for sequence in sequences:
                self.client.async_stream_infer(MODEL, step(value), sequence_id=sequence, sequence_start=i == 0,
                                               sequence_end=i == len(SERIES) - 1, request_id=f"{sequence}/{i}")
        got = {str(sequence): [] for sequence in sequences}
        for _ in range(len(SERIES) * len(sequences)):
            result, error = self.next()
            self.assertIsNone(error)
            sequence, index = result.get_response().id.split("/")
            self.assertEqual(int(index), len(got[sequence]))
            got[sequence].append(result.as_numpy("OUTPUT"))
        want = native(SERIES[None, :, None])
        for outputs in got.values():
            self.assert_same_bits(numpy.concatenate(outputs)[None], want)

    def test_final_responses(self):
        for asked in (True, False):
            self.client.async_stream_infer(MODEL, step(1), enable_empty_final_response=asked)
            result, error = self.next()
            self.assertIsNone(error)
            final = result.get_response().parameters.get("triton_final_response")
            self.assertEqual(final is not None and final.bool_param, asked)

    def test_deadline_of_a_request(self):
        self.client.async_stream_infer(MODEL, step(1), sequence_id=23, sequence_start=True, timeout=TIMEOUT * 1_000_000)
        self.assertIsNone(self.next()[1])

    def test_errors_leave_the_stream_open(self):
        self.client.async_stream_infer(MODEL, step(1), sequence_id=22)
        result, error = self.next()
        self.assertIsNone(result)
        self.assertIn("[SESSION_NOT_FOUND] inference request for sequence 22", error.message())
        # A start on a live id restarts it.
        for _ in range(2):
            self.client.async_stream_infer(MODEL, step(1), sequence_id=22, sequence_start=True)
        first, second = self.next(), self.next()
        self.assertIsNone(first[1])
        self.assertIsNone(second[1])
        self.assert_same_bits(first[0].as_numpy("OUTPUT"), second[0].as_numpy("OUTPUT"))


class PerfAnalyzerTest(unittest.TestCase):
    def test_streaming_sequences(self):
        probe = subprocess.run([PERF_ANALYZER, "--version"], capture_output=True, text=True, timeout=TIMEOUT,
                               check=False)
        if probe.returncode == 127 or "error while loading shared libraries" in probe.stderr:
            self.skipTest(f"perf_analyzer does not run here: {probe.stderr.strip()}")
        run = subprocess.run([PERF_ANALYZER, "-m", MODEL, "-u", ADDRESS, "-i", "grpc", "--streaming",
                              "--concurrency-range", "4", "--sequence-length", "20", "--measurement-mode",
                              "count_windows", "--measurement-request-count", "200", "-s", "1000", "-r", "3"],
                             capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertIn("Throughput:", run.stdout)


if __name__ == "__main__":
    suite.main()
