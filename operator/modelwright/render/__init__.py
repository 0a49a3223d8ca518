"""Desired objects, pure: one module per kind, each function returns the whole JSON body of one object."""
