"""The base class of Python actions."""

import abc
import logging

__all__ = ["Action"]


class Action(abc.ABC):
    """An action: `run` gets the parameters by name and returns a value, or (succeeded, value)."""

    description = None

    def __init__(self, config=None, action_service=None):
        self.config = config if config is not None else {}
        self.action_service = action_service
        self.logger = logging.getLogger("action." + type(self).__name__)

    @abc.abstractmethod
    def run(self, **kwargs):
        pass
