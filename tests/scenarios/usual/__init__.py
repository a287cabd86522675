"""Scenarios of one system with the usual settings."""
