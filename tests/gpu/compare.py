# SPDX-License-Identifier: Apache-2.0
"""compare.py ROWS.json: the rows of gpu_bench beside PyTorch's cuDNN LSTM on the same GPU, host to host.

Exits 77 (skipped) where PyTorch with CUDA is not installed."""
import json
import statistics
import sys
import time

try:
    import torch
except ImportError:
    print("SKIPPED: PyTorch is not installed")
    sys.exit(77)
if not torch.cuda.is_available():
    print("SKIPPED: PyTorch sees no GPU")
    sys.exit(77)


def peer_us(row):
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[row["precision"]]
    hidden, batch, steps = row["H"], row["N"], row["T"]
    lstm = torch.nn.LSTM(hidden, hidden).to("cuda", dtype).eval()
    x = torch.randn(steps, batch, hidden, dtype=dtype).pin_memory()
    state = tuple(torch.zeros(1, batch, hidden, dtype=dtype, device="cuda") for _ in range(2))
    times = []
    with torch.inference_mode():
        for i in range(220):
            begin = time.perf_counter()
            y, state = lstm(x.to("cuda", non_blocking=True), state)
            y.cpu()
            if i >= 20:
                times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1e6


torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
rows = json.load(open(sys.argv[1]))
print(f"{'bench':9} {'H':>5} {'N':>4} {'T':>3} {'type':5} {'lstmd us':>9} {'torch us':>9} {'ratio':>6}")
for row in rows:
    peer = peer_us(row)
    print(f"{row['bench']:9} {row['H']:5} {row['N']:4} {row['T']:3} {row['precision']:5} {row['us']:9.1f} {peer:9.1f} "
          f"{peer / row['us']:6.2f}")
