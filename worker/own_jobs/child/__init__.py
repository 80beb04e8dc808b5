"""A child process of the worker, which runs functions that compute."""
