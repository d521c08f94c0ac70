"""Estimates of resources and cycles, each figure with its source and its error.

`hwflow.estimate.estimator.estimate_rows` estimates layers described by the columns of a table;
`hwflow.estimate.families` holds one estimator a file, found by its folder.
"""
