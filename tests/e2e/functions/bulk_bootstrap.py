#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""bulk.py as a custom runtime, with nothing but HTTP."""

import http.client
import os
import sys

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
import bulk  # noqa: E402

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", base + "next")
    request = api.getresponse()
    event, id = request.read(), request.headers["Lambda-Runtime-Aws-Request-Id"]
    api.request("POST", base + id + "/response", bulk.handler(event, None), {"Content-Type": "application/octet-stream"})
    api.getresponse().read()
