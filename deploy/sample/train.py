#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the sample model: from the sunspot number of this month, and all before it, forecasts that of the next.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python deploy/sample/train.py [--validate]

The months before HELD_OUT train it; those from HELD_OUT on are only measured, once, at the end: one step at a time from
a zero state, as the server will see them. Writes deploy/models/sunspots/1/ and prints the error of the model and of the
naive forecast (next month = this month). --validate writes nothing: it trains without the last VALIDATION months before
HELD_OUT and measures on these; the settings below were chosen by it.
"""
import argparse
import csv
import json
import math
import pathlib

import numpy
import torch
from safetensors.torch import save_file

SEED = 20
HIDDEN = 64
SCALE = 100.0  # What the model reads and answers is the sunspot number divided by this.
HELD_OUT = "1979-01"
VALIDATION = 30 * 12
WINDOW, BATCH, UPDATES = 180, 32, 1000
INPUT_NOISE = 0.05

folder = pathlib.Path(__file__).resolve().parent
model_folder = folder.parent / "models" / "sunspots" / "1"


class Forecaster(torch.nn.Module):
    """Predicts [N, T, 1] from [N, T, 1]; parameter names are those that the server reads."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, HIDDEN, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, 1)

    def forward(self, x, state=None):
        y, state = self.lstm(x, state)
        return self.head(y), state


def rmse(forecast, actual):
    return float(numpy.sqrt(numpy.mean((numpy.asarray(forecast) - numpy.asarray(actual)) ** 2)))


def stream(model, series):
    """Forecasts of series[1:], in sunspots, one step at a time."""
    state, forecasts = None, []
    with torch.no_grad():
        for value in series[:-1]:
            y, state = model(torch.tensor([[[value / SCALE]]], dtype=torch.float32), state)
            forecasts.append(float(y) * SCALE)
    return forecasts


def train(series):
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    scaled = torch.tensor(series, dtype=torch.float32)[:, None] / SCALE
    model = Forecaster()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 0.5 * (1 + math.cos(math.pi * k / UPDATES)))
    for update in range(UPDATES):
        starts = torch.randint(0, len(scaled) - WINDOW, (BATCH,), generator=generator)
        windows = torch.stack([scaled[s:s + WINDOW + 1] for s in starts])
        # Few cycles, each of another height: heights varied and inputs made uncertain keep it from learning them by heart.
        windows = windows * (0.7 + 0.8 * torch.rand(BATCH, 1, 1, generator=generator))
        inputs = windows[:, :-1] + INPUT_NOISE * torch.randn(BATCH, WINDOW, 1, generator=generator)
        loss = torch.nn.functional.mse_loss(model(inputs)[0], windows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % 100 == 0:
            print(f"update {update + 1} of {UPDATES}: RMSE {loss.item() ** 0.5 * SCALE:.2f}", flush=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validate", action="store_true")
    validate = parser.parse_args().validate
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    with open(folder / "sunspots.csv", newline="") as file:
        rows = [(row["month"], float(row["sunspots"])) for row in csv.DictReader(file)]
    values = [value for _, value in rows]
    split = sum(month < HELD_OUT for month, _ in rows)
    end = len(rows)
    if validate:
        split, end = split - VALIDATION, split
    model = train(values[:split])
    if not validate:
        model_folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, model_folder / "model.safetensors")
        spec = {"input_size": 1, "hidden_size": HIDDEN, "head": {"output_size": 1, "bias": True}}
        (model_folder / "lstm.json").write_text(json.dumps(spec, indent=2) + "\n")
    unseen = values[split:end]
    print(f"unseen: {rows[split][0]} to {rows[end - 1][0]}, {len(unseen) - 1} forecasts")
    print(f"RMSE of the model {rmse(stream(model, unseen), unseen[1:]):.2f}, naive {rmse(unseen[:-1], unseen[1:]):.2f}")


if __name__ == "__main__":
    main()
