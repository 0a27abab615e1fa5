"""Runs a sensor of StackStorm."""

import inspect
import json
import logging
import os
import signal
import sys

from attune_st2 import api, run, settings

NO_KEYS = "A sensor has no datastore: its token may only emit events."


class SensorService:
    """What StackStorm passes to sensors."""

    def __init__(self, spec):
        self._spec = spec
        self._file = os.fdopen(os.dup(1), "w")
        # What the sensor prints is its log; events alone go to stdout.
        os.dup2(2, 1)

    def dispatch(self, trigger, payload=None, trace_tag=None):
        ref = self._spec["triggers"].get(trigger)
        if ref is None:
            raise ValueError('The sensor has no trigger "%s".' % trigger)
        self._file.write(json.dumps({"trigger": ref, "payload": payload or {}}, default=str) + "\n")
        self._file.flush()

    def dispatch_with_context(self, trigger, payload=None, trace_context=None):
        self.dispatch(trigger, payload)

    def get_logger(self, name):
        return logging.getLogger("sensor." + name)

    def get_value(self, *_, **__):
        raise api.UnsupportedError(NO_KEYS)

    set_value = delete_value = list_values = get_user_info = get_value


def main(wrapper):
    with open(wrapper[: -len(".py")] + ".json") as file:
        spec = json.load(file)
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
    service = SensorService(spec)
    with open(os.environ["ATTUNE_PARAMETER_FILE"]) as file:
        values = json.load(file) or {}
    plain = {path: given for path, given in spec["defaults"].items() if "json" in given}
    config = settings.Config(spec["pack"], settings.with_defaults(values, plain))
    module = run.load_module(os.path.join(run.PACK, spec["entry"]))
    cls = getattr(module, spec["class_name"], None)
    if cls is None:
        sys.exit('%s has no class "%s".' % (spec["entry"], spec["class_name"]))
    sensor = create(cls, service, config, spec)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        sensor.setup()
        for trigger in triggers(spec):
            sensor.add_trigger(trigger)
        sensor.run()
    finally:
        sensor.cleanup()


def create(cls, service, config, spec):
    from st2reactor.sensor.base import PollingSensor

    if not issubclass(cls, PollingSensor):
        return cls(sensor_service=service, config=config)
    accepted = inspect.signature(cls.__init__).parameters
    if "poll_interval" in accepted:
        return cls(sensor_service=service, config=config, poll_interval=spec["poll_interval"])
    sensor = cls(sensor_service=service, config=config)
    sensor.set_poll_interval(spec["poll_interval"])
    return sensor


def triggers(spec):
    """Returns the triggers of the rules, as StackStorm describes them."""
    names = {ref: name for name, ref in spec["triggers"].items()}
    with open(os.environ["ATTUNE_SENSOR_TRIGGERS_FILE"]) as file:
        rules = json.load(file)
    return [
        {"id": rule["rule"], "ref": names.get(rule["trigger"]), "type": names.get(rule["trigger"]), "parameters": rule["trigger_params"]}
        for rule in rules
    ]
