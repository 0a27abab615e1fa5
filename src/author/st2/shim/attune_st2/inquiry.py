"""Asks a person, and waits for the response."""

import os
import time

from attune_st2 import api

TYPES = ("string", "integer", "number", "boolean", "array", "object")


def ask(pack, parameters):
    """Returns the response. Raises SystemExit when there is none in time."""
    users, roles = parameters.get("users") or [], parameters.get("roles") or []
    if len(users) + len(roles) > 1:
        raise SystemExit("An inquiry is assigned to one person or one role.")
    fields = (parameters.get("schema") or {}).get("properties") or {}
    given = {
        "prompt": (parameters.get("schema") or {}).get("title") or "Inquiry of the pack " + pack,
        "responseSchema": {name: field_of(schema) for name, schema in fields.items()} or None,
        "assignedTo": users[0] if users else None,
        "assignedRole": roles[0] if roles else None,
        "timeoutSeconds": int(parameters.get("ttl") or 1440) * 60,
        # A second attempt of the execution waits for the same question.
        "idempotencyKey": "st2-" + os.environ["ATTUNE_EXEC_ID"],
    }
    made = api.mutate("createInquiry", "CreateInquiryInput", given, "inquiry { id }")["inquiry"]
    while True:
        document = "query I($id: ID!) { node(id: $id) { ... on Inquiry { status response } } }"
        found = api.ask(document, {"id": made["id"]})["node"]
        if found is None or found["status"] != "PENDING":
            break
        time.sleep(2)
    if found is None or found["status"] != "RESPONDED":
        raise SystemExit("There was no response: %s" % (found or {}).get("status", "the inquiry is gone"))
    return {"response": found["response"]}


def field_of(schema):
    kind = schema.get("type")
    field = {"type": kind if kind in TYPES else "any"}
    if schema.get("description"):
        field["description"] = schema["description"]
    if schema.get("required") is True:
        field["required"] = True
    if isinstance(schema.get("enum"), list):
        field["enum"] = schema["enum"]
    return field
