"""The names of StackStorm's log module. Everything goes to stderr, which is the execution's log."""

import logging
from logging import *  # noqa: F401,F403

AUDIT = logging.CRITICAL + 10
logging.addLevelName(AUDIT, "AUDIT")


def getLogger(name=None):
    return logging.getLogger(name)
