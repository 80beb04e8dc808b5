"""What people do with single jobs: look why one waits, bring dead ones back, take one out, stop one."""
