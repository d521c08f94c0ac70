"""Compilers and vendor tools: the only users of subprocesses."""
