# SPDX-License-Identifier: Apache-2.0
"""Keras 2 cases, by tf_keras. Run in a virtualenv with tensorflow, tf_keras and numpy."""

import numpy as np
import tensorflow as tf
import tf_keras

import common as C
import keras_common as kc

KR = kc.Keras(tf_keras, "tf_keras", tf_keras.__version__, (0.2, 0.5))
lstm = KR.lstm
V1 = dict(recurrent_activation="hard_sigmoid", extra={"implementation": 1})

CASES = {
    "tf_keras_seed003_lstm_16": lstm(
        state=True,
        category="seed_example",
        seed="003",
        **V1,
        note="; the page's signature: recurrent_activation='hard_sigmoid', implementation=1, on (3, 5, 10)",
    ),
    "tf_keras_lstm_hard_sigmoid": lstm(scale=3.0, **V1, note="; Keras 2 hard_sigmoid(x) = clip(0.2 x + 0.5, 0, 1)"),
    "tf_keras_lstm_elu_hard_sigmoid_nobias": lstm(activation="elu", use_bias=False, sequences=False, **V1),
    "tf_keras_lstm_time_major": lstm(time_major=True, state=True),
    "tf_keras_lstm_mask_any_initial_state": lstm(mask="any", state=True, initial=True),
    "tf_keras_bidirectional_masked_hard_sigmoid": lstm(merge="concat", mask="any", state=True, **V1),
    "tf_keras_stateful_two_calls": lstm(stateful=True, state=True),
}


def errors():
    rows, L = [], tf_keras.layers
    x = np.zeros((3, 5, 10), "f")

    def a(documented, call, f, seed="003"):
        C.attempt(rows, seed, documented, call, f, "tf_keras", tf_keras.__version__)

    a("the page's Bidirectional line", "Bidirectional(LSTM())", lambda: L.Bidirectional(L.LSTM()))
    a("units positive", "LSTM(0)", lambda: L.LSTM(0))
    a("time_major", "LSTM(16, time_major=True)", lambda: L.LSTM(16, time_major=True))
    a("input 3-D", "LSTM(16)(zeros(3, 10))", lambda: L.LSTM(16)(x[:, 0]))
    a("merge_mode", "Bidirectional(LSTM(16), merge_mode='max')", lambda: L.Bidirectional(L.LSTM(16), merge_mode="max"))
    a(
        "h, c of shape (batch, units)",
        "LSTM(16)(zeros(3, 5, 10), initial_state=[zeros(3, 15), zeros(3, 15)])",
        lambda: L.LSTM(16)(x, initial_state=[tf.zeros((3, 15))] * 2),
    )
    return rows


if __name__ == "__main__":
    C.main("tf_keras", CASES, errors)
