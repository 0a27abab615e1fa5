"""The base classes of sensors."""

import abc
import logging
import time

__all__ = ["Sensor", "PollingSensor"]


class Sensor(abc.ABC):
    """Watches something by itself, in `run`."""

    def __init__(self, sensor_service, config=None):
        self.sensor_service = sensor_service
        self._sensor_service = sensor_service
        self.config = config if config is not None else {}
        self._config = self.config
        self.logger = logging.getLogger("sensor." + type(self).__name__)
        self._logger = self.logger

    def setup(self):
        pass

    @abc.abstractmethod
    def run(self):
        pass

    def cleanup(self):
        pass

    def add_trigger(self, trigger):
        pass

    def update_trigger(self, trigger):
        pass

    def remove_trigger(self, trigger):
        pass


class PollingSensor(Sensor):
    """Is asked again and again, in `poll`."""

    def __init__(self, sensor_service, config=None, poll_interval=5):
        super().__init__(sensor_service=sensor_service, config=config)
        self._poll_interval = poll_interval

    @abc.abstractmethod
    def poll(self):
        pass

    def run(self):
        while True:
            self.poll()
            time.sleep(self._poll_interval)

    def get_poll_interval(self):
        return self._poll_interval

    def set_poll_interval(self, poll_interval):
        self._poll_interval = poll_interval
