"""Scenarios of one system that makes a Ray task of every object."""
