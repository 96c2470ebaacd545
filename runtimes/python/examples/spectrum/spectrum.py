# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Analyses the signal of a vibration sensor: its drift (a linear system, solved) and its strongest frequencies (an FFT).

Event: {"sensor": name, "rate_hz": samples a second, "samples": [numbers]}.
Result: {"sensor", "count", "drift": {"offset", "per_second"}, "rms", "peaks": [{"hz", "amplitude"}, ...]}, rounded so
that it does not depend on the version of numpy or of its linear algebra library.
"""

import numpy as np

PEAKS = 3


def handler(event, context):
    samples = np.asarray(event["samples"], dtype=np.float64)
    rate = float(event["rate_hz"])
    if samples.ndim != 1 or samples.size < 8:
        raise ValueError("samples must be a list of at least 8 numbers")
    times = np.arange(samples.size) / rate

    # Least squares line through the samples: the normal equations of [1, t].
    basis = np.stack([np.ones_like(times), times], axis=1)
    offset, slope = np.linalg.solve(basis.T @ basis, basis.T @ samples)
    signal = samples - offset - slope * times

    # A Hann window keeps a peak from leaking over its neighbours; its mean gives the amplitudes back their scale.
    window = np.hanning(signal.size)
    magnitude = np.abs(np.fft.rfft(signal * window)) * 2 / window.sum()
    frequency = np.fft.rfftfreq(signal.size, 1 / rate)
    inner = magnitude[1:-1]
    tops = np.flatnonzero((inner > magnitude[:-2]) & (inner >= magnitude[2:])) + 1
    tops = tops[np.argsort(magnitude[tops])[::-1][:PEAKS]]

    return {
        "sensor": event.get("sensor"),
        "count": int(samples.size),
        "drift": {"offset": round(float(offset), 3), "per_second": round(float(slope), 3)},
        "rms": round(float(np.sqrt(np.mean(signal**2))), 3),
        "peaks": [{"hz": round(float(frequency[k]), 2), "amplitude": round(float(magnitude[k]), 2)} for k in tops],
    }
