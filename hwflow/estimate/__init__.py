"""Estimators of resources and latency, one a file."""
