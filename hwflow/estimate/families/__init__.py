"""Estimators, one kernel family a file: a module here that defines `FAMILY` is found."""
