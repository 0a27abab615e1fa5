"""Requests to the API with the token of the execution."""

import json
import os
import urllib.request


class ApiError(Exception):
    """The API refused a request; the message says why."""


class UnsupportedError(Exception):
    """An action or a sensor uses what Attune has no counterpart of; the message says what to do instead."""


def ask(document, variables=None):
    """Returns the data of an operation. Raises ApiError."""
    path = os.environ.get("ATTUNE_TOKEN_FILE")
    if not path:
        raise ApiError("The action has no token for the API: its permission_set_refs must name a permission set.")
    with open(path) as file:
        token = file.read().strip()
    request = urllib.request.Request(
        os.environ["ATTUNE_API_URL"].rstrip("/") + "/graphql",
        data=json.dumps({"query": document, "variables": variables or {}}).encode(),
        headers={"content-type": "application/json", "authorization": "Bearer " + token},
    )
    # The server is not behind a proxy that actions use for the internet.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            answer = json.load(response)
    except OSError as error:
        body = error.read().decode(errors="replace")[:500] if hasattr(error, "read") else ""
        raise ApiError("The API cannot be reached: %s %s" % (error, body)) from error
    if answer.get("errors"):
        raise ApiError("; ".join(error["message"] for error in answer["errors"]))
    return answer["data"]


def mutate(name, type_name, value, selection):
    """Returns the payload of a mutation. Raises ApiError with the reason of a refusal, which begins with its type."""
    document = (
        "mutation M($input: %s!) { result: %s(input: $input) { __typename ... on Error { message } "
        "... on %sPayload { %s } } }" % (type_name, name, type_name[: -len("Input")], selection)
    )
    result = ask(document, {"input": value})["result"]
    if "message" in result:
        raise ApiError("%s: %s" % (result["__typename"], result["message"]))
    return result


def reveal(ref):
    """Returns the value of a key; None if there is none."""
    try:
        return mutate("revealKey", "RevealKeyInput", {"ref": ref}, "revealed { value }")["revealed"]["value"]
    except ApiError as error:
        if str(error).startswith("NotFoundError"):
            return None
        raise
