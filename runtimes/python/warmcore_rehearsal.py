# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""What a zygote loads and calls once before it forks, in the place of a function (warmcore_runtime.py, rehearse())."""

import os


def handler(event, context):
    """Some of what most functions do."""
    values = [value for value in event["values"] if value is not None]
    return {"count": len(values), "cpu": os.cpu_count(), "left": context.get_remaining_time_in_millis()}
