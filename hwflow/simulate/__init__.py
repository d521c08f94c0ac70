"""The witnesses and their comparison."""
