"""A backend's package, for tests of its own job kinds."""
