# SPDX-License-Identifier: Apache-2.0
"""Keras 3 cases (TensorFlow backend). Run in a virtualenv with tensorflow, keras 3 and numpy."""

import keras
import numpy as np

import common as C
import keras_common as kc

KR = kc.Keras(keras, "keras", keras.__version__, (1 / 6, 0.5))
lstm = KR.lstm

CASES = {
    "keras_seed003_lstm_16": lstm(
        state=True,
        category="seed_example",
        seed="003",
        note="; the page's call: LSTM(16, return_sequences=True, return_state=True) on (3, 5, 10), Keras 3 defaults",
    ),
    "keras_seed003_bidirectional_16": lstm(
        state=True,
        merge="concat",
        category="seed_example",
        seed="003",
        note="; the page writes Bidirectional(LSTM()), which lacks units; "
        "here LSTM(16, return_sequences=True, return_state=True)",
    ),
    "keras_lstm_tanh_sigmoid": lstm(),
    "keras_lstm_tanh_hard_sigmoid": lstm(
        recurrent_activation="hard_sigmoid", scale=3.0, note="; Keras 3 hard_sigmoid(x) = relu6(x + 3) / 6"
    ),
    "keras_lstm_relu_sigmoid": lstm(activation="relu"),
    "keras_lstm_linear_sigmoid": lstm(activation="linear"),
    "keras_lstm_softsign_hard_sigmoid": lstm(activation="softsign", recurrent_activation="hard_sigmoid"),
    "keras_lstm_elu_sigmoid": lstm(activation="elu"),
    "keras_lstm_selu_hard_sigmoid": lstm(activation="selu", recurrent_activation="hard_sigmoid"),
    "keras_lstm_softplus_softsign": lstm(activation="softplus", recurrent_activation="softsign"),
    "keras_lstm_leaky_relu_sigmoid": lstm(activation="leaky_relu", note="; the string gives negative_slope 0.2"),
    "keras_lstm_gelu_sigmoid": lstm(activation="gelu", note="; the string gives the exact (erf) gelu"),
    "keras_lstm_silu_linear": lstm(activation="silu", recurrent_activation="linear", scale=0.4),
    "keras_lstm_nobias": lstm(use_bias=False),
    "keras_lstm_fresh_unit_forget_bias": lstm(
        fresh=True, note="; weights as initialised: forget part of the bias is 1"
    ),
    "keras_lstm_fresh_no_unit_forget_bias": lstm(
        fresh=True, unit_forget_bias=False, note="; weights as initialised: bias is 0"
    ),
    "keras_lstm_go_backwards": lstm(go_backwards=True, state=True),
    "keras_lstm_last_dropout": lstm(
        sequences=False,
        extra={"dropout": 0.3, "recurrent_dropout": 0.2},
        note="; dropout does nothing outside training",
    ),
    "keras_lstm_initial_state": lstm(sequences=False, state=True, initial=True),
    "keras_lstm_stateful_two_calls": lstm(
        stateful=True, note="; input then input_2, the second starting where the first ended"
    ),
    "keras_lstm_stacked_2layer": lstm(stacked=2, sequences=False, note="; Sequential of two LSTM layers"),
    "keras_bidirectional_concat": lstm(merge="concat"),
    "keras_bidirectional_sum": lstm(merge="sum"),
    "keras_bidirectional_mul": lstm(merge="mul"),
    "keras_bidirectional_ave": lstm(merge="ave"),
    "keras_bidirectional_last_state": lstm(merge="concat", sequences=False, state=True, initial=True),
    "keras_bidirectional_masked": lstm(merge="concat", state=True, mask="any"),
    "keras_bidirectional_masked_last": lstm(merge="sum", sequences=False, mask="any"),
    "keras_lstm_mask_right": lstm(mask="right", state=True),
    "keras_lstm_mask_any_initial_state": lstm(
        mask="any",
        state=True,
        initial=True,
        note="; the mask is an input of the model, "
        "since Keras 3 drops the mask of a Masking layer when initial_state is given",
    ),
    "keras_lstm_mask_go_backwards": lstm(mask="any", go_backwards=True, state=True),
    "keras_lstm_mask_last": lstm(mask="any", sequences=False),
    "keras_lstm_mask_over_nan": lstm(
        mask="argument",
        state=True,
        category="nonfinite",
        note=" with mask= as a call argument; masked steps hold NaN, which must not get out",
    ),
    "keras_lstm_saturating_hard_sigmoid": lstm(recurrent_activation="hard_sigmoid", data=C.saturating, category="edge"),
    "keras_lstm_nonfinite": lstm(
        data=C.nonfinite,
        state=True,
        category="nonfinite",
        note="; batch rows: 0 NaN at t=1, 1 +Inf, 2 -Inf, 3 both, 4 clean",
    ),
}


def errors():
    rows, L = [], keras.layers
    x = np.zeros((3, 5, 10), "f")

    def a(documented, call, f, seed="003"):
        C.attempt(rows, seed, documented, call, f, "keras", keras.__version__)

    a("the page's Bidirectional line", "Bidirectional(LSTM())", lambda: L.Bidirectional(L.LSTM()))
    a("units positive", "LSTM(0)", lambda: L.LSTM(0))
    a("units an int", "LSTM(16.5)(zeros(3, 5, 10))", lambda: L.LSTM(16.5)(x))
    a("parameter of Keras 2 gone in Keras 3", "LSTM(16, time_major=True)", lambda: L.LSTM(16, time_major=True))
    a("activation by name", "LSTM(16, activation='nope')", lambda: L.LSTM(16, activation="nope"))
    a("input 3-D", "LSTM(16)(zeros(3, 10))", lambda: L.LSTM(16)(x[:, 0]))
    a(
        "input_size fixed by the first call",
        "m = LSTM(16); m(zeros(3, 5, 10)); m(zeros(3, 5, 9))",
        lambda: [m := L.LSTM(16), m(x), m(x[:, :, :9])],
    )
    a(
        "h, c of shape (batch, units)",
        "LSTM(16)(zeros(3, 5, 10), initial_state=[zeros(3, 15), zeros(3, 15)])",
        lambda: L.LSTM(16)(x, initial_state=[np.zeros((3, 15), "f")] * 2),
    )
    a(
        "two states",
        "LSTM(16)(zeros(3, 5, 10), initial_state=[zeros(3, 16)])",
        lambda: L.LSTM(16)(x, initial_state=[np.zeros((3, 16), "f")]),
    )
    a("merge_mode", "Bidirectional(LSTM(16), merge_mode='max')", lambda: L.Bidirectional(L.LSTM(16), merge_mode="max"))
    a("Bidirectional takes a layer", "Bidirectional(16)", lambda: L.Bidirectional(16))
    a(
        "stateful needs a batch size",
        "Sequential([Input((5, 10)), LSTM(16, stateful=True)])",
        lambda: keras.Sequential([keras.Input((5, 10)), L.LSTM(16, stateful=True)]),
    )
    a(
        "stateful keeps one batch size",
        "m = LSTM(16, stateful=True); m(zeros(3, 5, 10)); m(zeros(2, 5, 10))",
        lambda: [m := L.LSTM(16, stateful=True), m(x), m(x[:2])],
    )
    a("at least one step", "LSTM(16)(zeros(3, 0, 10))", lambda: L.LSTM(16)(x[:, :0]))
    return rows


if __name__ == "__main__":
    C.main("keras", CASES, errors)
