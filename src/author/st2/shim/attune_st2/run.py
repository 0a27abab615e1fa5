"""Runs an action of StackStorm as its runner would."""

import importlib.util
import inspect
import json
import logging
import os
import sys

from attune_st2 import settings, template

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACK = os.path.dirname(HERE)


def main(wrapper):
    with open(wrapper[: -len(".run.py")] + ".json") as file:
        spec = json.load(file)
    with open(os.path.join(HERE, "attune_st2", "pack.json")) as file:
        pack = json.load(file)
    given = json.load(sys.stdin) or {}
    config = LazyConfig(pack)
    parameters = resolve(spec, given, config)
    RUNNERS[spec["runner"]](spec, parameters, config)


class LazyConfig:
    """The settings, which are read from the API when they are used."""

    def __init__(self, pack):
        self.pack = pack
        self._values = None

    @property
    def values(self):
        if self._values is None:
            self._values = settings.read(self.pack)
        return self._values


def resolve(spec, given, config):
    """Returns all parameters: what is neither given nor has a default is None."""
    values = {}

    def names(name):
        if name in ("st2kv", "system"):
            return settings.key_values(name)
        if name == "config_context":
            return config.values
        return parameter(name)

    def parameter(name):
        if name in values:
            return values[name]
        values[name] = None
        if name in spec["fixed"]:
            values[name] = template.value_of(spec["fixed"][name], names)
        elif given.get(name) is not None:
            values[name] = given[name]
        elif name in spec["defaults"]:
            values[name] = template.value_of(spec["defaults"][name], names)
        return values[name]

    resolved = {name: parameter(name) for name in spec["names"]}
    if "command" in spec:
        resolved["cmd"] = command_of(spec["command"], names)
    return resolved


def command_of(command, names):
    """Returns the text of the command line and its values, each in a variable of its own."""
    used = {}

    def text(parts):
        texts = []
        for part in parts:
            if "text" in part:
                texts.append(part["text"])
            elif "value" in part:
                value = template.evaluate(command["values"][part["value"] - 1], names)
                variable = "ATTUNE_ST2_%d" % part["value"]
                used[variable] = template.text_of(value) if value is not None else "None"
                if "\0" in used[variable]:
                    raise ValueError("A value of the command line contains the character U+0000.")
                texts.append("${%s}" % variable)
            else:
                texts.append(text(part["yes"] if template.is_true(part["test"], names) else part["no"]))
        return "".join(texts)

    return text(command["parts"]), used


def of_action(spec, parameters):
    return {name: value for name, value in parameters.items() if name not in spec["ofRunner"] and name != "cmd"}


def replace_process(spec, parameters, argv, more=None):
    env = dict(os.environ)
    for key, value in (parameters.get("env") or {}).items():
        env[str(key)] = value if isinstance(value, str) else str(value)
    env.update(more or {})
    if parameters.get("sudo"):
        argv = ["sudo", "-n", "-E", "--"] + argv
    if parameters.get("sudo_password"):
        sys.exit("sudo_password is not supported: let the worker's user call sudo without a password.")
    os.chdir(parameters.get("cwd") or PACK)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(argv[0], argv, env)


def run_command(spec, parameters, config):
    script, variables = parameters["cmd"]
    replace_process(spec, parameters, ["/bin/sh", "-c", script], variables)


def run_script(spec, parameters, config):
    path = os.path.join(PACK, spec["entry"])
    replace_process(spec, parameters, program_of(path) + arguments_of(spec, parameters))


def program_of(path):
    """Returns how a script is started; its interpreter is called where it may not be executed itself."""
    if os.access(path, os.X_OK):
        return [path]
    with open(path, "rb") as file:
        line = file.readline(500)
    words = line[2:].decode(errors="replace").split(None, 1) if line.startswith(b"#!") else ["/bin/sh"]
    return [word.strip() for word in words] + [path]


def arguments_of(spec, parameters):
    """Returns the named arguments, then the positional ones."""
    prefix = parameters.get("kwarg_op") if parameters.get("kwarg_op") is not None else "--"
    named = []
    for name, value in of_action(spec, parameters).items():
        if name in spec["positions"] or value is None or value == "":
            continue
        if isinstance(value, bool):
            if value:
                named.append(prefix + name)
        else:
            named.append("%s%s=%s" % (prefix, name, value))
    return named + [positional(parameters.get(name), spec["types"].get(name)) for name in spec["positions"]]


def positional(value, kind):
    if value is None:
        return ""
    if kind == "boolean":
        return "1" if value else "0"
    if kind in ("array", "list"):
        return ",".join(str(item) for item in value)
    if kind == "object":
        return json.dumps(value)
    return str(value)


class Output:
    """What is printed goes to the log; the result alone is the action's output."""

    def __enter__(self):
        self._file = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        return self

    def __exit__(self, *_):
        self._file.close()

    def write(self, value):
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            text = json.dumps(str(value))
        sys.stdout.flush()
        self._file.write(text)
        self._file.flush()


def run_python(spec, parameters, config):
    level = str(parameters.get("log_level") or "DEBUG")
    logging.basicConfig(stream=sys.stderr, level=getattr(logging, level, logging.DEBUG), format="%(levelname)s %(name)s: %(message)s")
    for name, value in (parameters.get("env") or {}).items():
        os.environ[str(name)] = str(value)
    with Output() as output:
        cls = load_class(os.path.join(PACK, spec["entry"]))
        service = settings.ActionService(spec["pack"], cls.__name__)
        action = create(cls, config.values, service)
        result = action.run(**of_action(spec, parameters))
        succeeded = True
        if isinstance(result, tuple) and len(result) == 2:
            succeeded, result = result
            if not isinstance(succeeded, bool):
                sys.exit("run() returned a tuple that does not begin with True or False: %r" % (succeeded,))
        output.write(result)
    sys.stderr.flush()
    if not succeeded:
        sys.exit(1)


def create(cls, config, service):
    accepted = inspect.signature(cls.__init__).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted.values())
    if takes_all or "action_service" in accepted:
        return cls(config=config, action_service=service)
    action = cls(config=config)
    action.action_service = service
    return action


def add_paths(path):
    """Adds the folders where StackStorm looks for modules."""
    folder = os.path.dirname(path)
    for place in (os.path.join(PACK, "lib"), os.path.join(folder, "lib"), os.path.join(PACK, "actions", "lib")):
        if os.path.isdir(place) and place not in sys.path:
            sys.path.insert(1, place)
    for place in (folder, PACK):
        sys.path.append(place)


def load_module(path):
    add_paths(path)
    name = "st2_" + os.path.splitext(os.path.basename(path))[0]
    description = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(description)
    sys.modules[name] = module
    description.loader.exec_module(module)
    return module


def load_class(path):
    from st2common.runners.base_action import Action

    module = load_module(path)
    classes = [cls for _, cls in inspect.getmembers(module, inspect.isclass) if issubclass(cls, Action) and cls is not Action]
    own = [cls for cls in classes if cls.__module__ == module.__name__ and not inspect.isabstract(cls)]
    found = own or [cls for cls in classes if not inspect.isabstract(cls)]
    if not found:
        sys.exit("%s has no class that is an Action with a method run()." % os.path.relpath(path, PACK))
    return found[0]


def run_noop(spec, parameters, config):
    print("null")


def run_request(spec, parameters, config):
    from attune_st2 import request

    with Output() as output:
        succeeded, result = request.send(parameters)
        output.write(result)
    if not succeeded:
        sys.exit(1)


def run_inquiry(spec, parameters, config):
    from attune_st2 import inquiry

    with Output() as output:
        output.write(inquiry.ask(spec["pack"], parameters))


RUNNERS = {
    "python-script": run_python,
    "local-shell-cmd": run_command,
    "local-shell-script": run_script,
    "http-request": run_request,
    "noop": run_noop,
    "inquirer": run_inquiry,
}
