# SPDX-License-Identifier: Apache-2.0
"""What generate_keras.py (Keras 3) and generate_tf_keras.py (Keras 2, as tf_keras) share."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf

import common as C

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

NOTES = (
    "kernel (in, 4H), recurrent_kernel (H, 4H), one bias (4H); columns in gate order i, f, c, o (here ifgo). "
    "Batch first unless time_major."
)


class Keras:
    """One of the two Keras packages, and what differs between them."""

    def __init__(self, module, framework, version, hard_sigmoid):
        self.K, self.framework, self.version = module, framework, version
        self.three = framework == "keras"
        self.fns = {
            "hard_sigmoid": C.act("hard_sigmoid", *hard_sigmoid),
            "elu": C.act("elu", 1.0),
            "leaky_relu": C.act("leaky_relu", 0.2),
            "selu": C.act("selu"),
        }

    def fn(self, name):
        return self.fns.get(name, C.act(name))

    def path(self, v):
        return v.path if self.three else v.name

    def clear(self):
        (self.K.utils if self.three else self.K.backend).clear_session()

    def save(self, model, folder):
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        if not self.three:
            model.save(folder / "model.h5")

    def layer_params(self, layer, bias):
        names = [self.path(v) for v in layer.weights]
        step = 3 if bias else 2
        out = []
        for d in range(len(names) // step):
            p = {"w_ih": C.ref(names[d * step], transpose=True), "w_hh": C.ref(names[d * step + 1], transpose=True)}
            if bias:
                p["b_ih"] = C.ref(names[d * step + 2])
            out.append(p)
        return out

    def lstm(
        self,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        unit_forget_bias=True,
        go_backwards=False,
        sequences=True,
        state=False,
        initial=False,
        stateful=False,
        merge=None,
        mask=None,
        stacked=1,
        fresh=False,
        time_major=False,
        data=C.normal,
        category="basic",
        seed=None,
        scale=1.0,
        extra=None,
        note="",
    ):
        """mask: None; by a Masking layer 'right' or 'any' (leading, middle, trailing, a whole row);
        'argument' (a mask passed in the call, NaN below it). Keras 3 drops the mask of a Masking layer
        without a word where initial_state is given too, so there 'any' becomes an input of the model."""
        K = self.K

        def make(s, name, I, H, B, T, lens=None):
            self.clear()
            rng = s.rng(name)
            calls = 2 if stateful else 1
            extra_args = dict(extra or {})
            if time_major:
                extra_args["time_major"] = True

            def one(k):
                layer = K.layers.LSTM(
                    H,
                    activation=activation,
                    recurrent_activation=recurrent_activation,
                    use_bias=use_bias,
                    unit_forget_bias=unit_forget_bias,
                    go_backwards=go_backwards,
                    return_sequences=sequences or k < stacked - 1,
                    return_state=state,
                    stateful=stateful,
                    name="lstm" if k == 0 else f"lstm_{k}",
                    **extra_args,
                )
                if merge:
                    layer = K.layers.Bidirectional(
                        layer, merge_mode=merge, name="bidirectional" if k == 0 else f"bidirectional_{k}"
                    )
                return layer

            if fresh:
                K.utils.set_random_seed(int(rng.integers(1 << 30)))
            layers = [one(k) for k in range(stacked)]
            as_input = self.three and initial and mask == "any"
            value = -1.0 if mask in ("right", "any") and not as_input else None
            first = (T, B, I) if time_major else (B, T, I)
            x_in = K.Input(shape=first[1:], batch_size=first[0] if stateful or time_major else None, name="input")
            h_in = []
            if initial:
                names = ["h0", "c0"] if not merge else ["h0_forward", "c0_forward", "h0_backward", "c0_backward"]
                h_in = [K.Input(shape=(H,), name=n) for n in names]
            y = K.layers.Masking(mask_value=value, name="masking")(x_in) if value is not None else x_in
            m_in = [K.Input(shape=(T,), dtype="bool", name="mask")] if as_input else []
            if not initial and not state and value is None:
                model = K.Sequential(
                    [
                        x_in
                        if self.three
                        else K.layers.InputLayer(
                            input_shape=first[1:], batch_size=first[0] if stateful or time_major else None, name="input"
                        ),
                        *layers,
                    ]
                )
            else:
                for k, layer in enumerate(layers):
                    more = {"mask": m_in[0]} if m_in else {}
                    y = layer(y, initial_state=h_in, **more) if initial and k == 0 else layer(y)
                model = K.Model([x_in, *h_in, *m_in] if h_in else x_in, list(y) if state else y)

            if not fresh:
                for layer in layers:
                    layer.set_weights([C.uniform(rng, w.shape, scale * C.wscale(H)) for w in layer.get_weights()])
            elif use_bias:
                b = layers[0].get_weights()[2]
                assert np.array_equal(b[H : 2 * H], np.full(H, 1.0 if unit_forget_bias else 0.0)) and not b[:H].any()

            t = {self.path(v): np.asarray(v) for layer in layers for v in layer.weights}
            on = None
            if mask:
                on = np.ones((B, T), np.int32)
                if mask == "right":
                    on = (np.arange(T)[None] < np.array(lens)[:, None]).astype(np.int32)
                else:
                    on = (rng.uniform(size=(B, T)) < 0.6).astype(np.int32)
                    on[0], on[1], on[2], on[2, 1] = 0, 1, 1, 0
                    on[3:, 0] = 0

            outs, x_all = [], []
            for call in range(calls):
                x = data(rng, first, **({"bti": True} if data is C.nonfinite else {}))
                if value is not None:
                    x[on == 0] = value
                    x[on == 1, 0] = np.where(rng.uniform(size=int(on.sum())) < 0.3, value, x[on == 1, 0])
                elif mask == "argument":
                    x[on == 0] = np.nan
                elif as_input:
                    x[on == 0] = C.uniform(rng, x[on == 0].shape, 3.0)
                x_all.append(x)
            st = {}
            if initial:
                st = {n: C.normal(rng, (B, H), 0.7) for n in names}
            for x in x_all:
                if mask == "argument":
                    r = layers[0](tf.constant(x), mask=tf.constant(on.astype(bool)))
                else:
                    r = model(
                        [
                            tf.constant(x),
                            *[tf.constant(v) for v in st.values()],
                            *([tf.constant(on.astype(bool))] if as_input else []),
                        ]
                        if st
                        else tf.constant(x)
                    )
                outs.append([np.asarray(v) for v in (r if isinstance(r, (list, tuple)) else [r])])

            for k, x in enumerate(x_all):
                t["input" + ("" if k == 0 else f"_{k + 1}")] = x
            t.update(st)
            if on is not None:
                t["mask"] = on
            got = ["output"]
            if state:
                got += ["h_n", "c_n"] if not merge else ["h_n_forward", "c_n_forward", "h_n_backward", "c_n_backward"]
            names_out = []
            for k, r in enumerate(outs):
                assert len(r) == len(got)
                for n, v in zip(got, r):
                    names_out.append(n + ("" if k == 0 else f"_{k + 1}"))
                    t[names_out[-1]] = v

            f, g = self.fn(recurrent_activation), self.fn(activation)
            padded = None
            if mask:
                padded = "zeros" if merge and sequences else "repeat_last"
            s.write(
                name,
                dict(
                    framework=self.framework,
                    framework_version=self.version,
                    runtime=f"tensorflow {tf.__version__} (CPU)",
                    api=f"{self.framework}.layers." + ("Bidirectional(LSTM)" if merge else "LSTM"),
                    category=category,
                    input_size=I,
                    hidden_size=H,
                    num_layers=stacked,
                    bidirectional=bool(merge),
                    direction="bidirectional" if merge else "reverse" if go_backwards else "forward",
                    has_bias=use_bias,
                    batch_first=not time_major,
                    batch_size=B,
                    seq_len=T,
                    activation=activation,
                    recurrent_activation=recurrent_activation,
                    output_activation=activation,
                    activation_spec=C.spec(f, g, g, 2 if merge else 1),
                    unit_forget_bias=unit_forget_bias,
                    go_backwards=go_backwards,
                    merge_mode=merge,
                    return_sequences=sequences,
                    return_state=state,
                    stateful=stateful,
                    calls=calls,
                    dropout=extra_args.get("dropout", 0.0),
                    initial_state=bool(initial),
                    has_mask=mask is not None,
                    mask_value=value,
                    padded_output=padded,
                    padding_rule="select" if mask else None,
                    input_layout="TBI" if time_major else "BTI",
                    output_layout=("TBH" if time_major else "BTH") if sequences else "BH",
                    state_layout="BH",
                    params=[self.layer_params(l, use_bias) for l in layers],
                    outputs=names_out,
                    seed_document=C.SEEDS.get(seed),
                    layout_notes=NOTES + self.notes(merge, go_backwards, sequences, mask),
                    how="model called eagerly on CPU" + note,
                ),
                t,
                lambda folder: self.save(model, folder),
            )

        return make

    @staticmethod
    def notes(merge, back, sequences, mask):
        n = ""
        if merge:
            n += (
                " The backward half is turned back into time order before merging; "
                "without sequences its part is the state after t=0."
            )
        if back:
            n += " go_backwards: outputs stay in the order computed (t = T-1 first)."
        if mask:
            n += " A masked step leaves h and c alone; its output is " + (
                "zeros (Bidirectional with return_sequences)."
                if merge and sequences
                else "the previous output again, or zeros before the first valid step (not h0)."
            )
        return n
