# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Compiles units, each in a call of its own, and links them.

Event: {"units": [{"key", "name", "text"}], "flags": [...]} and, when a program is wanted, {"link": [keys, in the order of the link],
"objects": {key: object file in base64, of units that need not be compiled}, "link_flags": [...]}.
Result: {"objects": {key: object file, of the units}, "errors": {name: text}, "program": or null}. Bytes are in base64.
"""

import base64

import warmcore


def handler(event, context):
    units, objects, errors = event["units"], dict(event.get("objects", {})), {}
    calls = [warmcore.start("compile-unit", {"name": u["name"], "text": u["text"], "flags": event["flags"]}) for u in units]
    made = {}
    for unit, result in zip(units, warmcore.gather(*calls, return_exceptions=True)):
        if isinstance(result, warmcore.InvokeError):
            errors[unit["name"]] = result.error_message if result.error_type == "CompileError" else str(result)
        else:
            made[unit["key"]] = base64.b64encode(result).decode()
    objects.update(made)
    program = None
    if event.get("link") and not errors:
        try:
            program = warmcore.invoke("compile-link", {"objects": [objects[key] for key in event["link"]], "flags": event["link_flags"]})
            program = base64.b64encode(program).decode()
        except warmcore.InvokeError as error:
            errors["link"] = error.error_message if error.error_type == "LinkError" else str(error)
    return {"objects": made, "errors": errors, "program": program}
