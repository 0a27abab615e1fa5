"""Runs actions and sensors that were written for StackStorm."""
