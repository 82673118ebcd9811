"""Measures of reconstructions, per frame, per shot and per film."""
