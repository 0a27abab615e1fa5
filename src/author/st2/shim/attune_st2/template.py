"""Computes the templates of metadata, which the import has parsed: nothing here reads Jinja or runs text as code."""

import json
import os
import re

MISSING = object()


def value_of(given, names):
    """Returns {json} as it is, and {parts} as a text, or as the value of its only expression."""
    if "json" in given:
        return given["json"]
    parts = given["parts"]
    if len(parts) == 1 and "value" in parts[0]:
        value = evaluate(parts[0]["value"], names)
        return None if value is MISSING else value
    return text_of_parts(parts, names)


def text_of_parts(parts, names):
    texts = []
    for part in parts:
        if "text" in part:
            texts.append(part["text"])
        elif "value" in part:
            texts.append(text_of(evaluate(part["value"], names)))
        else:
            texts.append(text_of_parts(part["yes"] if is_true(part["test"], names) else part["no"], names))
    return "".join(texts)


def text_of(value):
    if value is MISSING:
        raise ValueError("a template uses a value that is missing")
    return value if isinstance(value, str) else str(value)


def is_true(expr, names):
    value = evaluate(expr, names)
    return value is not MISSING and bool(value)


def needed(expr, names):
    value = evaluate(expr, names)
    if value is MISSING:
        raise ValueError("a template uses a value that is missing")
    return value


def evaluate(expr, names):
    return OPERATIONS[expr["op"]](expr, names)


def name(expr, names):
    found = names(expr["name"])
    return found


def get(expr, names):
    of, key = needed(expr["of"], names), needed(expr["key"], names)
    if callable(of):
        return of(key)
    try:
        return of[key]
    except (KeyError, IndexError, TypeError):
        return MISSING


def binary(operation):
    return lambda expr, names: operation(needed(expr["left"], names), needed(expr["right"], names))


def either(expr, names):
    left = evaluate(expr["left"], names)
    return left if left is not MISSING and left else needed(expr["right"], names)


def both(expr, names):
    left = evaluate(expr["left"], names)
    return needed(expr["right"], names) if left is not MISSING and left else (None if left is MISSING else left)


def call(table):
    def run(expr, names):
        found = table.get(expr["name"])
        if found is None:
            raise ValueError('there is no counterpart of the %s "%s"' % (expr["op"], expr["name"]))
        args = [needed(arg, names) for arg in expr["args"]]
        named = {key: needed(arg, names) for key, arg in expr["named"].items()}
        return found(evaluate(expr["of"], names), *args, **named)

    return run


def default(value, default_value="", boolean=False):
    return default_value if value is MISSING or (boolean and not value) else value


def present(function):
    def run(value, *args, **named):
        if value is MISSING:
            raise ValueError("a template uses a value that is missing")
        return function(value, *args, **named)

    return run


def flags(ignorecase):
    return re.IGNORECASE if ignorecase else 0


def number(convert):
    def run(value, default=0):
        try:
            return convert(value)
        except (TypeError, ValueError):
            return default

    return run


FILTERS = {
    "default": default,
    "d": default,
    "upper": present(lambda value: text_of(value).upper()),
    "lower": present(lambda value: text_of(value).lower()),
    "trim": present(lambda value: text_of(value).strip()),
    "length": present(len),
    "count": present(len),
    "string": present(text_of),
    "int": number(int),
    "float": number(float),
    "join": present(lambda value, d="": d.join(text_of(item) for item in value)),
    "replace": present(lambda value, old, new: text_of(value).replace(old, new)),
    "first": present(lambda value: value[0]),
    "last": present(lambda value: value[-1]),
    "safe": present(lambda value: value),
    "use_none": present(lambda value: value),
    "to_complex": present(lambda value: value),
    "decrypt_kv": present(lambda value: value),
    "to_json_string": present(lambda value, **_: json.dumps(value)),
    "from_json_string": present(json.loads),
    "regex_match": present(lambda v, pattern, ignorecase=False: bool(re.match(pattern, text_of(v), flags(ignorecase)))),
    "regex_search": present(lambda v, pattern, ignorecase=False: bool(re.search(pattern, text_of(v), flags(ignorecase)))),
    "regex_replace": present(lambda v, pattern, replacement, ignorecase=False: re.sub(pattern, replacement, text_of(v), flags=flags(ignorecase))),
    "basename": present(os.path.basename),
    "dirname": present(os.path.dirname),
}
METHODS = {
    "upper": present(lambda value: value.upper()),
    "lower": present(lambda value: value.lower()),
    "strip": present(lambda value, *args: value.strip(*args)),
    "split": present(lambda value, *args: value.split(*args)),
    "replace": present(lambda value, old, new: value.replace(old, new)),
    "startswith": present(lambda value, prefix: value.startswith(prefix)),
    "endswith": present(lambda value, suffix: value.endswith(suffix)),
    "get": present(lambda value, key, other=None: value.get(key, other)),
}
TESTS = {
    "defined": lambda value: value is not MISSING,
    "undefined": lambda value: value is MISSING,
    "none": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)),
    "boolean": lambda value: isinstance(value, bool),
    "mapping": lambda value: isinstance(value, dict),
    "equalto": lambda value, other: value == other,
    "eq": lambda value, other: value == other,
}
OPERATIONS = {
    "value": lambda expr, names: expr["value"],
    "name": name,
    "get": get,
    "list": lambda expr, names: [needed(item, names) for item in expr["items"]],
    "map": lambda expr, names: {needed(key, names): needed(value, names) for key, value in expr["entries"]},
    "if": lambda expr, names: evaluate(expr["yes"] if is_true(expr["test"], names) else expr["no"], names),
    "not": lambda expr, names: not is_true(expr["of"], names),
    "neg": lambda expr, names: -needed(expr["of"], names),
    "and": both,
    "or": either,
    "+": binary(lambda a, b: a + b),
    "-": binary(lambda a, b: a - b),
    "*": binary(lambda a, b: a * b),
    "/": binary(lambda a, b: a / b),
    "~": binary(lambda a, b: text_of(a) + text_of(b)),
    "in": binary(lambda a, b: a in b),
    "==": binary(lambda a, b: a == b),
    "!=": binary(lambda a, b: a != b),
    "<": binary(lambda a, b: a < b),
    ">": binary(lambda a, b: a > b),
    "<=": binary(lambda a, b: a <= b),
    ">=": binary(lambda a, b: a >= b),
    "filter": call(FILTERS),
    "method": call(METHODS),
    "test": call(TESTS),
}
