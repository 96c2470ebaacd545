# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A figure as the benchmarks in Python report it: pairs of a round, and what their ratios say."""

import statistics


def quartiles(values):
    return statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3


def figure(name, unit, ours, floors, more, digits=2):
    """`ours` over `floors`, one of each a round. `more` comes along."""
    ratios = [a / b for a, b in zip(ours, floors)]
    low, _, high = quartiles(ratios)
    return {"name": name, "value": round(statistics.median(ours), digits), "unit": unit, "floor": round(statistics.median(floors), digits),
            "ratio": round(statistics.median(ratios), 4), "runs": len(ratios), "spread": round(high - low, 4),
            "ratio_min": round(min(ratios), 4), "ratio_max": round(max(ratios), 4), **more}  # fmt: skip
