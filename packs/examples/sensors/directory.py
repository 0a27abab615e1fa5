"""Emits an event for each file in the directories that rules name, and again when the file has changed."""

import hashlib
import json
import os
import sys
import time


def load(variable):
    with open(os.environ[variable], encoding="utf-8") as file:
        return json.load(file)


def digest(text):
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def look(directory, seen):
    with os.scandir(directory) as entries:
        files = [(entry.path, entry.name, entry.stat()) for entry in entries if entry.is_file()]
    for path, name, stat in files:
        if seen.get(path) == stat.st_mtime_ns:
            continue
        seen[path] = stat.st_mtime_ns
        payload = {"directory": directory, "name": name, "size": stat.st_size, "modified": stat.st_mtime}
        # After a start everything is found again; what was emitted before is not stored a second time.
        event = {"trigger": "examples.file_found", "payload": payload, "dedup": f"{digest(path)} {stat.st_mtime_ns}"}
        print(json.dumps(event))


directories = {rule["trigger_params"]["path"] for rule in load("ATTUNE_SENSOR_TRIGGERS_FILE")}
interval = load("ATTUNE_PARAMETER_FILE")["interval"]
seen = {}
failing = set()
while True:
    for directory in sorted(directories):
        try:
            look(directory, seen)
            failing.discard(directory)
        except OSError as error:
            if directory not in failing:
                print(error, file=sys.stderr)
            failing.add(directory)
    time.sleep(interval)
