"""A backend's own job kinds: their modules, and their handlers in the loop, in threads or in processes."""
