# SPDX-License-Identifier: Apache-2.0
"""The plots of RESULTS.md, as PNG."""
import os

OURS, PEER, THIRD = "#1f6f8b", "#c0562f", "#7a7a7a"


def figure(width=7, height=4):
    import matplotlib
    matplotlib.use("agg")
    matplotlib.rcParams.update({"font.size": 10, "axes.grid": True,
                                "grid.color": "#dddddd", "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot
    return pyplot.subplots(figsize=(width, height), layout="constrained")


def save(fig, folder, name):
    fig.savefig(os.path.join(folder, name), dpi=110, metadata={"Software": None})
    from matplotlib import pyplot
    pyplot.close(fig)
    return name


def plain(axis):
    from matplotlib.ticker import FuncFormatter, NullFormatter
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def latency(load, folder):
    fig, axes = figure()
    rates = [r["rate"] / 1e3 for r in load]
    axes.plot(rates, [r["p99"] for r in load], "o-", color=PEER, label="p99")
    axes.plot(rates, [r["p50"] for r in load], "o-", color=OURS, label="p50")
    axes.set_yscale("log")
    plain(axes.yaxis)
    axes.set(xlabel="thousand steps/s asked for", ylabel="latency from the time it was due, µs",
             title="Latency against load (H 128, 256 sessions, 8 streams, one step a message)", xlim=(0, None))
    axes.legend(frameon=False)
    return save(fig, folder, "latency_load.png")


def frames(rows, folder):
    fig, axes = figure()
    axes.plot([r["handles"] for r in rows], [r["steps"] / 1e3 for r in rows], "o-", color=OURS)
    axes.set_xscale("log", base=2)
    axes.set_xticks([r["handles"] for r in rows])
    plain(axes.xaxis)
    axes.set(xlabel="handles in a frame", ylabel="thousand steps/s", ylim=(0, None),
             title="Steps/s against handles in a frame (H 128, 2 streams, a frame in flight on each)")
    return save(fig, folder, "frames.png")


def heat_map(rows, folder):
    import numpy
    steps = [row for row in rows if row["T"] == 1]
    peers = [(name, title) for name, title in (("oneDNN", "oneDNN"), ("onnxruntime", "ONNX Runtime"), ("torch", "PyTorch"))
             if any(name in row["peers"] for row in steps)]
    hidden = sorted({row["H"] for row in steps})
    batches = sorted({row["N"] for row in steps})
    if not peers:
        return None
    fig, _ = figure(1.2 + 3.4 * len(peers), 3.6)
    fig.clear()
    grid = fig.subplots(1, len(peers), squeeze=False)[0]
    for axes, (name, title) in zip(grid, peers):
        values = numpy.full((len(hidden), len(batches)), numpy.nan)
        for row in steps:
            if name in row["peers"]:
                values[hidden.index(row["H"]), batches.index(row["N"])] = row["peers"][name] / row["us"]["f32"]
        image = axes.imshow(numpy.log2(values), cmap="RdYlGn", vmin=-2, vmax=2, aspect="auto")
        del image
        for y in range(len(hidden)):
            for x in range(len(batches)):
                if values[y, x] == values[y, x]:
                    axes.text(x, y, f"{values[y, x]:.1f}" if values[y, x] < 100 else f"{values[y, x]:.0f}", ha="center",
                              va="center", fontsize=8)
        axes.set(xticks=range(len(batches)), xticklabels=batches, yticks=range(len(hidden)), yticklabels=hidden,
                 xlabel="batch N", title=f"time of {title} / ours")
        axes.grid(False)
    grid[0].set_ylabel("hidden size H")
    return save(fig, folder, "ratios.png")
