"""Vendor reports, metrics and what a person reads."""
