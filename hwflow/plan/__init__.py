"""Folding, memories, FIFO depths and devices."""
