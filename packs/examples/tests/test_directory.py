"""Starts the sensor of directories as a server does, and reads its events."""

import json
import os
import subprocess
import sys
import tempfile
import unittest


class Directory(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.watched = os.path.join(self.scratch.name, "in")
        os.mkdir(self.watched)

    def write(self, path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, *paths):
        rules = [{"trigger": "examples.file_found", "trigger_params": {"path": path}} for path in paths]
        variables = {}
        for name, value in {"ATTUNE_SENSOR_TRIGGERS_FILE": rules, "ATTUNE_PARAMETER_FILE": {"interval": 0.05}}.items():
            variables[name] = os.path.join(self.scratch.name, name)
            self.write(variables[name], json.dumps(value))
        sensor = subprocess.Popen(
            [sys.executable, "-u", "sensors/directory.py"],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(sensor.communicate)
        self.addCleanup(sensor.kill)
        return sensor

    def test_new_and_changed_files(self):
        first = os.path.join(self.watched, "a.txt")
        self.write(first, "one")
        sensor = self.start(self.watched)
        found = json.loads(sensor.stdout.readline())
        self.assertEqual(found["trigger"], "examples.file_found")
        self.assertEqual(found["payload"]["directory"], self.watched)
        self.assertEqual((found["payload"]["name"], found["payload"]["size"]), ("a.txt", 3))
        self.write(first, "longer")
        os.utime(first, (1, 1))
        changed = json.loads(sensor.stdout.readline())
        self.assertEqual(changed["payload"]["name"], "a.txt")
        self.assertNotEqual(changed["dedup"], found["dedup"])

    def test_missing_directory(self):
        sensor = self.start(os.path.join(self.scratch.name, "nowhere"))
        self.assertIn("No such file or directory", sensor.stderr.readline())
        self.assertIsNone(sensor.poll())
