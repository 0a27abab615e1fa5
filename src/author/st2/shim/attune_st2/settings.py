"""The settings of the pack, and its keys in place of StackStorm's datastore."""

import copy
import hashlib
import re

from attune_st2 import api, template


class Config(dict):
    """The settings. A missing one is named."""

    def __init__(self, pack, values):
        super().__init__(values)
        self._pack = pack

    def __missing__(self, key):
        raise ValueError('The pack "%s" has no setting "%s": set it in the pack\'s config, or as a key if it is secret.' % (self._pack, key))


def put(values, path, value):
    """Sets a value at a path between dots, if nothing is there."""
    *above, last = path.split(".")
    for part in above:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            return
    if values.get(last) is None:
        values[last] = value


def key_values(root):
    """Returns what `st2kv` or `system` stands for in templates."""

    def of_system(key):
        return Key(["system", key])

    def of_scope(scope):
        if scope != "system":
            raise ValueError("st2kv.%s has no counterpart: only keys of the system can be used" % scope)
        return of_system

    return of_system if root == "system" else of_scope


class Key(str):
    """The value of a key, with which a longer path can go on."""

    def __new__(cls, path):
        value = api.reveal(".".join(path))
        if value is None:
            raise ValueError('There is no key "%s": attune key set %s' % (".".join(path), path[-1]))
        return super().__new__(cls, value)


def read(pack):
    """Returns the settings of the pack as pack.json describes them."""
    if not pack["settings"]:
        return Config(pack["ref"], {})
    found = api.ask("query P($ref: String!) { packByRef(ref: $ref) { config } }", {"ref": pack["ref"]})["packByRef"]
    if found is None:
        raise api.ApiError('The pack "%s" cannot be read.' % pack["ref"])
    values = copy.deepcopy(found["config"] or {})
    for path, name in pack["keys"].items():
        value = api.reveal("pack.%s.%s" % (pack["ref"], name))
        if value is not None:
            put(values, path, value)
    with_defaults(values, pack["defaults"])
    return Config(pack["ref"], values)


def with_defaults(values, defaults):
    for path, given in defaults.items():
        if is_missing(values, path):
            put(values, path, template.value_of(given, lambda name: key_values(name)))
    return values


def is_missing(values, path):
    for part in path.split("."):
        if not isinstance(values, dict) or values.get(part) is None:
            return True
        values = values[part]
    return False


def key_name(name):
    """Returns the name of a key for the name of an item: other characters are replaced, and a hash keeps names apart."""
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        return name
    plain = re.sub(r"[^a-z0-9_-]", "_", name.lower()).strip("_-")[:50] or "key"
    return "%s-%s" % (plain, hashlib.sha256(name.encode()).hexdigest()[:8])


class ActionService:
    """What StackStorm passes to actions. Items are keys: local ones of the pack, others of the system."""

    def __init__(self, pack, class_name):
        self._pack = pack
        self._class = class_name

    def _place(self, name, local, scope):
        if scope not in ("system", "st2kv.system"):
            raise ValueError('The scope "%s" has no counterpart.' % scope)
        if local:
            own = key_name("%s:%s" % (self._class, name))
            return "pack.%s.%s" % (self._pack, own), own, {"pack": self._pack}
        return "system." + key_name(name), key_name(name), {"system": True}

    def get_value(self, name, local=True, scope="system", decrypt=False):
        return api.reveal(self._place(name, local, scope)[0])

    def set_value(self, name, value, ttl=None, local=True, scope="system", encrypt=False):
        if ttl is not None:
            raise api.UnsupportedError("Keys of Attune do not expire: call set_value without ttl, and store the time with the value.")
        _, own, owner = self._place(name, local, scope)
        given = {"name": own, "value": str(value), "owner": owner, "encrypted": bool(encrypt)}
        api.mutate("setKey", "SetKeyInput", given, "key { ref }")
        return True

    def delete_value(self, name, local=True, scope="system"):
        try:
            api.mutate("deleteKey", "DeleteKeyInput", {"ref": self._place(name, local, scope)[0]}, "key { ref }")
        except api.ApiError as error:
            if str(error).startswith("NotFoundError"):
                return False
            raise
        return True

    def list_values(self, local=True, prefix=None, limit=None, offset=0):
        raise api.UnsupportedError("list_values has no counterpart: read the keys by their names.")

    def get_user_info(self):
        raise api.UnsupportedError("get_user_info has no counterpart: an execution has the grants of its permission sets.")

    @property
    def datastore_service(self):
        return self
